"""Which capabilities the service keeps: those that its calls need, and the kernel granted."""

from onejob.model.plan_policy import Capability
from onejob.planner.evidence import Evidence

# capabilities(7): what each permits, by the call that needs it (numbers: linux/capability.h).
_CAPABILITIES: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("CAP_CHOWN", 0, ("chown", "fchown", "lchown", "fchownat")),
    ("CAP_FOWNER", 3, ("chmod", "fchmod", "fchmodat", "chown", "fchown", "utimensat")),
    ("CAP_FSETID", 4, ("chmod", "fchmod", "fchmodat")),
    ("CAP_KILL", 5, ("kill", "tgkill", "tkill")),
    ("CAP_SETGID", 6, ("setgid", "setregid", "setresgid", "setgroups", "setfsgid")),
    ("CAP_SETUID", 7, ("setuid", "setreuid", "setresuid", "setfsuid")),
    ("CAP_IPC_LOCK", 14, ("mlock", "mlock2", "mlockall")),
    ("CAP_SYS_CHROOT", 18, ("chroot",)),
    ("CAP_SYS_ADMIN", 21, ("mount", "umount2", "pivot_root", "setns")),
    ("CAP_SYS_NICE", 23, ("setpriority", "sched_setscheduler", "sched_setparam", "ioprio_set")),
    ("CAP_MKNOD", 27, ("mknod", "mknodat")),
)
_DAC_OVERRIDE = ("CAP_DAC_OVERRIDE", 1)
_DAC_READ_SEARCH = ("CAP_DAC_READ_SEARCH", 2)


def plan_capabilities(
    evidence: Evidence, *, as_root: bool = True, gains_rights: bool = False
) -> tuple[Capability, ...]:
    """The capabilities whose calls succeeded, and those that addresses and owners ask for.

    What the kernel was seen never to grant is not needed, though the call was made: kill(2) of a
    process of one's own asks for nothing. A service that is not `as_root` and runs no set-user-id
    program (`gains_rights`) did what it did without any.
    """
    found: dict[int, Capability] = {}
    if as_root or gains_rights:
        for name, number, calls in _CAPABILITIES:
            used = [call for call in calls if evidence.succeeded(call)]
            if used and evidence.may_have_granted(name):
                reason = f"{used[0]} {evidence.call_reason(used[0])}"
                found[number] = Capability(name=name, number=number, reason=reason)
    if as_root:
        for capability in _for_files_of_others(evidence):
            found[capability.number] = capability
    ports = {port for port in evidence.profile_ports() if port < 1024}
    if ports:  # also where nobody was asked for it: a container may leave low ports to everybody
        reason = f"binds port {min(ports)}"
        found[10] = Capability(name="CAP_NET_BIND_SERVICE", number=10, reason=reason)
    if families := {"AF_PACKET"} & evidence.socket_families().keys():
        reason = f"opens {min(families)} sockets"
        found[13] = Capability(name="CAP_NET_RAW", number=13, reason=reason)
    return tuple(found[number] for number in sorted(found))


def _for_files_of_others(evidence: Evidence) -> list[Capability]:
    """Root without these has only what the mode of a file gives it (path_resolution(7)).

    The kernel asks first whether reading and searching is enough (fs/namei.c,
    generic_permission), and for the other one where it is not.
    """
    if evidence.knows_capabilities():
        reason = "the kernel asked for it, and granted it"
        return [
            Capability(name=name, number=number, reason=reason)
            for name, number in (_DAC_OVERRIDE, _DAC_READ_SEARCH)
            if evidence.may_have_granted(name)
        ]
    if any(a.uid and a.origin != "static" for a in evidence.profile.accounts):
        name, number = _DAC_OVERRIDE
        reason = "the service starts as root and uses files of its own accounts"
        return [Capability(name=name, number=number, reason=reason)]
    return []
