"""Arguments of system calls in words, where they have names that a person knows."""

import signal
from collections.abc import Sequence

from onejob.model.linux_names import family_name, type_name
from onejob.model.plan_policy import ArgumentValues

# include/uapi/linux/prctl.h
_PRCTL = {
    1: "SET_PDEATHSIG", 2: "GET_PDEATHSIG", 3: "GET_DUMPABLE", 4: "SET_DUMPABLE",
    7: "GET_KEEPCAPS", 8: "SET_KEEPCAPS", 15: "SET_NAME", 16: "GET_NAME", 21: "GET_SECCOMP",
    22: "SET_SECCOMP", 23: "CAPBSET_READ", 24: "CAPBSET_DROP", 29: "SET_TIMERSLACK",
    30: "GET_TIMERSLACK", 35: "SET_MM", 36: "SET_CHILD_SUBREAPER", 38: "SET_NO_NEW_PRIVS",
    39: "GET_NO_NEW_PRIVS", 41: "SET_THP_DISABLE", 47: "CAP_AMBIENT", 0x53564D41: "SET_VMA",
    0x59616D61: "SET_PTRACER",
}  # fmt: skip
# include/uapi/asm-generic/ioctls.h
_IOCTL = {
    0x5401: "TCGETS", 0x5402: "TCSETS", 0x5403: "TCSETSW", 0x5413: "TIOCGWINSZ",
    0x541B: "FIONREAD", 0x5421: "FIONBIO", 0x5450: "FIONCLEX", 0x5451: "FIOCLEX",
    0x5452: "FIOASYNC",
}  # fmt: skip
# include/uapi/linux/sched.h
_CLONE = {
    0x20000: "NEWNS", 0x800000: "UNTRACED", 0x2000000: "NEWCGROUP",
    0x4000000: "NEWUTS", 0x8000000: "NEWIPC", 0x10000000: "NEWUSER", 0x20000000: "NEWPID",
    0x40000000: "NEWNET",
}  # fmt: skip
_CLONE_THREAD = 0x10000
_PROTECTIONS = {0: "read", 2: "write", 4: "execute", 6: "write and execute"}
_SIGNALS = {
    "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal",
}  # fmt: skip


def arguments_in_words(call: str, values: ArgumentValues) -> str:
    """The checked arguments of `call`: ``inet stream``, ``SIGTERM``; numbers without a name."""
    first = values[0]
    if call in _SIGNALS:
        return _signal_name(first)
    if call in ("socket", "socketpair"):
        protocol = [str(number) for number in values[2:] if number]
        return " ".join((family_name(first), *map(type_name, values[1:2]), *protocol))
    if call in ("mmap", "mprotect", "pkey_mprotect"):
        return _PROTECTIONS.get(first, hex(first))
    if call == "clone":
        made = "thread" if first & _CLONE_THREAD else "process"
        return " ".join((made, *(name for bit, name in _CLONE.items() if first & bit)))
    names = {"prctl": _PRCTL, "ioctl": _IOCTL}.get(call, {})
    return names.get(first, " ".join(hex(value) for value in values))


def allowed_in_words(call: str, allowed: Sequence[ArgumentValues] | None) -> str:
    """What may be given to `call`; None is anything."""
    if allowed is None:
        return "any"
    return ", ".join(arguments_in_words(call, values) for values in allowed) or "none"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
