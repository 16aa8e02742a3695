"""What a profile wants to know of each call besides its count, by the place of its arguments.

The same facts as the probe's table (native/probe/src/calls.rs) notes; a test compares both.
"""

from functools import cache
from typing import Literal, NamedTuple

Role = Literal["path", "from", "to", "exec"]


class PathAt(NamedTuple):
    """A path argument, and the argument with the descriptor that it is relative to."""

    path: int
    dirfd: int | None
    role: Role


class CallRule(NamedTuple):
    """Which arguments are paths, say how a path is used, are facts; whether a descriptor comes."""

    paths: tuple[PathAt, ...] = ()
    flags: int | None = None
    facts: tuple[int, ...] = ()
    descriptor: bool = False


# p path, f from, t to, x executed; @ relative to the descriptor in that argument; o says how;
# # a fact; d a descriptor is returned.
_RULES = {
    "p0": "stat lstat truncate chdir mkdir rmdir unlink readlink chmod chown lchown utime mknod"
    " uselib statfs chroot acct swapon swapoff setxattr lsetxattr getxattr lgetxattr listxattr"
    " llistxattr removexattr lremovexattr utimes",
    "p1": "symlink inotify_add_watch",
    "p0 p1": "pivot_root",
    "p0 o1": "access",
    "p0 o1 d": "open",
    "p0 d": "creat",
    "p1@0": "mkdirat mknodat fchownat futimesat readlinkat fchmodat utimensat name_to_handle_at"
    " mount_setattr fchmodat2 setxattrat getxattrat listxattrat removexattrat file_getattr"
    " file_setattr",
    "p1@0 o2": "unlinkat faccessat statx faccessat2",
    "p1@0 o3": "newfstatat",
    "p1@0 o2 d": "openat",
    "p1@0 d": "openat2 open_tree fspick open_tree_attr",
    "p2@1": "symlinkat",
    "p4@3": "fanotify_mark",
    "f0 t1": "rename link",
    "f1@0 t3@2": "renameat linkat move_mount",
    "f1@0 t3@2 o4": "renameat2",
    "x0": "execve",
    "x1@0": "execveat",
    "p1 #3": "mount",
    "p0 #1": "umount2",
    "#0": "rt_sigaction setitimer clone msgget setuid setgid setgroups setfsuid setfsgid"
    " personality mlockall prctl arch_prctl setrlimit timer_create keyctl ioprio_set unshare"
    " seccomp",
    "#0 d": "timerfd_create bpf",
    "#0 #1": "shmget semget setreuid setregid clock_nanosleep",
    "#0 #2": "setpriority",
    "#0 #1 #2": "socketpair setresuid setresgid",
    "#0 #1 #2 d": "socket",
    "#1": "ioctl listen kill fcntl flock rt_sigqueueinfo sched_setscheduler tkill futex epoll_ctl"
    " fallocate prlimit64 setns pidfd_send_signal",
    "#1 d": "memfd_create",
    "#1 #2": "setsockopt getsockopt",
    "#2": "mprotect madvise tgkill rt_tgsigqueueinfo getrandom pkey_mprotect",
    "#2 #3": "mmap",
    "d": "dup dup2 dup3 accept accept4 epoll_create epoll_create1 mq_open inotify_init"
    " inotify_init1 signalfd signalfd4 eventfd eventfd2 perf_event_open fanotify_init"
    " open_by_handle_at userfaultfd io_uring_setup fsopen fsmount pidfd_open pidfd_getfd"
    " landlock_create_ruleset memfd_secret",
}
_ROLES: dict[str, Role] = {"p": "path", "f": "from", "t": "to", "x": "exec"}
_NOTHING = CallRule()


@cache
def call_rules() -> dict[str, CallRule]:
    """The rules by the names of calls; a call that has none is only counted."""
    return {name: _rule(words) for words, names in _RULES.items() for name in names.split()}


def rule_of(name: str) -> CallRule:
    """The rule of the call `name`."""
    return call_rules().get(name, _NOTHING)


def _rule(words: str) -> CallRule:
    parts = words.split()
    numbers = {mark: [int(w[1:]) for w in parts if w[0] == mark] for mark in "o#"}
    return CallRule(
        paths=tuple(_path(word) for word in parts if word[0] in _ROLES),
        flags=next(iter(numbers["o"]), None),
        facts=tuple(numbers["#"]),
        descriptor="d" in parts,
    )


def _path(word: str) -> PathAt:
    path, _, dirfd = word[1:].partition("@")
    return PathAt(int(path), int(dirfd) if dirfd else None, _ROLES[word[0]])
