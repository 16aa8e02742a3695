"""The seccomp profile of a whole container: process 1 and the service together, as engines read it.

Source: the OCI runtime specification, config-linux.md ("Seccomp").
"""

from typing import Any

from onejob.exporter.process_one import PROCESS_ONE_CALLS
from onejob.model.plan import Plan

# What runc and crun make between installing the filter and becoming process 1: they give up
# rights, look at their descriptors, and wait to go on. The service has a filter of its own.
_ENGINE_CALLS = (
    "brk", "clone3", "epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "faccessat",
    "faccessat2", "fstatfs", "futex", "getcwd", "getegid", "geteuid", "getgid", "getppid",
    "gettid", "getuid", "madvise", "mprotect", "readlink", "restart_syscall", "rt_sigreturn",
    "sched_yield", "set_robust_list", "setresgid", "setresuid", "sigaltstack", "stat", "statx",
    "tgkill",
)  # fmt: skip


def seccomp_profile(plan: Plan) -> dict[str, Any]:
    """Allows what the service and process 1 may call, and nothing else.

    All else is left to a tracer (SCMP_ACT_TRACE), and fails with ENOSYS where there is none, as for
    process 1. It is not refused here by an errno, as that would hide the call from the image's own
    filter below: the kernel takes the strictest verdict (seccomp(2)), and a notification, by which
    process 1 counts, names and refuses a call, comes before a trace but after an errno.
    """
    own = {call.name for call in plan.calls} | {call.name for call in plan.answered_calls}
    names = sorted(own | {*PROCESS_ONE_CALLS, *_ENGINE_CALLS})
    return {
        "defaultAction": "SCMP_ACT_TRACE",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    }
