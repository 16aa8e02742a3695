"""The kernel's names for its numbers: capabilities, policies, sockets, netlink."""

# linux/capability.h, by number.
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
# Scheduling policies by number (include/uapi/linux/sched.h); 4 is reserved.
POLICIES = ("other", "fifo", "rr", "batch", "4", "idle", "deadline", "ext")
# include/linux/socket.h
_FAMILIES = {
    0: "unspec", 1: "unix", 2: "inet", 10: "inet6", 15: "key", 16: "netlink", 17: "packet",
    21: "rds", 29: "can", 30: "tipc", 31: "bluetooth", 38: "alg", 39: "nfc", 40: "vsock",
    41: "kcm", 43: "smc", 44: "xdp", 45: "mctp",
}  # fmt: skip
# include/linux/net.h
_TYPES = {1: "stream", 2: "dgram", 3: "raw", 4: "rdm", 5: "seqpacket", 6: "dccp", 10: "packet"}
_TYPE_MASK = 0xF  # above it: SOCK_NONBLOCK, SOCK_CLOEXEC
# include/uapi/linux/netlink.h
_NETLINK = {
    0: "route", 2: "usersock", 4: "sock_diag", 6: "xfrm", 7: "selinux", 8: "iscsi", 9: "audit",
    10: "fib_lookup", 11: "connector", 12: "netfilter", 14: "dnrtmsg", 15: "kobject_uevent",
    16: "generic", 18: "scsitransport", 19: "ecryptfs", 20: "rdma", 21: "crypto", 22: "smc",
}  # fmt: skip


def capability_name(number: int) -> str:
    """``CAP_CHOWN`` for 0 (capabilities(7))."""
    return f"CAP_{CAPABILITIES[number] if number < len(CAPABILITIES) else number}"


def family_name(number: int) -> str:
    """``inet`` for 2 (socket(2))."""
    return _FAMILIES.get(number, str(number))


def type_name(number: int) -> str:
    """``stream`` for 1, whatever flags are added to it (socket(2))."""
    return _TYPES.get(number & _TYPE_MASK, str(number & _TYPE_MASK))


def netlink_name(number: int) -> str:
    """``route`` for 0 (netlink(7))."""
    return _NETLINK.get(number, str(number))
