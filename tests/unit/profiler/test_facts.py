"""A recording's further rows, in the profile's words."""

from onejob.model.profile import FileUse, KernelInterface, Listener, Relationship, Use
from onejob.profiler.facts import Facts
from onejob.profiler.recording import Recording

READ, SOCKET = 0, 41


def recording(**rows: object) -> Recording:
    base: dict[str, object] = {
        "format": 2, "backend": "ebpf", "drills": ("start", "serve"), "lost": {},
        "programs": ({"id": 0, "path": "/bin/service"}, {"id": 1, "path": "/lib/libc.so.6"}),
        "calls": (), "facts": (), "files": (), "peaks": {},
    }  # fmt: skip
    return Recording.model_validate({**base, **rows})


def row(**fields: object) -> tuple[dict[str, object]]:
    return ({"program": 0, "drill": 1, "count": 23, **fields},)


def test_a_relationship_joins_program_library_and_what_the_kernel_answered_with() -> None:
    seen = recording(
        through=(*row(nr=READ, object=1), *row(nr=SOCKET, object=1)),
        traffic=row(nr=READ, object="/etc/hosts", component="ext4"),
        facts=row(nr=SOCKET, args=(2, 1, 0)),
    )
    place = {"program": "/bin/service", "library": "/lib/libc.so.6", "drill": "serve", "count": 23}
    assert Facts(seen).relationships() == (
        Relationship(call_name="read", components=("ext4",), **place),
        Relationship(call_name="socket", components=("socket:inet",), **place),
    )


def test_sockets_are_named_by_family_and_type() -> None:
    seen = recording(traffic=row(nr=READ, object="socket:10/2", component="socket:10", bytes=7))
    (traffic,) = Facts(seen).traffic()
    assert (traffic.object, traffic.component, traffic.bytes) == (
        "socket:inet6/dgram", "socket:inet6", 7,
    )  # fmt: skip


def test_a_listener_is_named_by_family_and_type_without_its_flags() -> None:
    seen = recording(
        listeners=({"program": 0, "drill": 0, "family": 10, "type": 1 | 0o4000, "address": "::",
                    "port": 80, "backlog": 511, "queue_peak": 7, "accepted": 23},)
    )  # fmt: skip
    assert Facts(seen).listeners() == (
        Listener(program="/bin/service", drill="start", family="inet6", kind="stream",
                 address="::", port=80, backlog=511, queue_peak=7, accepted=23),
    )  # fmt: skip


def test_kernel_interfaces_come_from_paths_sockets_and_mounts() -> None:
    use = Use(program="/bin/service", drill="serve", how="read", count=2)
    paths = ("/proc/sys/net/core/somaxconn", "/proc/meminfo", "/dev/null", "/process", "/sys")
    files = [FileUse(path=path, kind="file", uses=(use,)) for path in paths]
    seen = recording(
        facts=row(nr=SOCKET, args=(16, 3, 0)), interfaces=row(kind="filesystem", name="tmpfs")
    )
    found = Facts(seen).kernel_interfaces(files)
    assert {(i.kind, i.name, i.count) for i in found} == {
        ("sysctl", "/proc/sys/net/core/somaxconn", 2), ("proc", "/proc/meminfo", 2),
        ("device", "/dev/null", 2), ("sys", "/sys", 2), ("netlink", "route", 23),
        ("filesystem", "tmpfs", 23),
    }  # fmt: skip
    assert all(isinstance(i, KernelInterface) and i.drill == "serve" for i in found)
