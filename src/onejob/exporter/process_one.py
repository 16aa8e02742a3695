"""The system calls of process 1, which a filter around the whole system has to allow.

A test holds them against the code of ``onejob-init``.
"""

_REASONS = {
    "the service: started, traced, signalled, reaped": (
        "clone", "execve", "kill", "ptrace", "setsid", "wait4", "waitid",
    ),
    "what the service may not have: rights, identity, files, ports, calls": (
        "capget", "capset", "landlock_add_rule", "landlock_create_ruleset",
        "landlock_restrict_self", "prctl", "prlimit64", "seccomp", "setgid", "setgroups", "setuid",
    ),
    "mounts of the system, and those of the service apart from them": (
        "chdir", "fchdir", "mount", "sethostname", "statfs", "umount2", "unshare",
    ),
    "data, logs and core files: seeded, extended, made whole": (
        "access", "close", "dup2", "fallocate", "fchmod", "fchmodat", "fchown", "fchownat",
        "fcntl", "fdatasync", "flock", "fstat", "fsync", "ftruncate", "getdents64", "ioctl",
        "lseek", "mkdirat", "newfstatat", "openat", "openat2", "pread64", "pwrite64", "quotactl_fd",
        "read", "readlinkat", "renameat", "symlinkat", "sync", "syncfs", "unlinkat", "write",
    ),
    "waiting, timing, talking": (
        "clock_gettime", "close_range", "getrandom", "nanosleep", "pipe2", "ppoll",
        "rt_sigaction", "rt_sigprocmask", "sendto", "signalfd4", "sysinfo",
    ),
    "schedule of the service, and its own": (
        "getpriority", "sched_getaffinity", "sched_getscheduler", "sched_setaffinity",
        "sched_setscheduler", "setpriority",
    ),
    "itself: memory, number, end": ("exit_group", "getpid", "mmap", "munmap", "reboot"),
}  # fmt: skip

PROCESS_ONE_CALLS = tuple(sorted(name for names in _REASONS.values() for name in names))
