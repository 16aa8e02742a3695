"""The data partition: how large it is, which mounts lie in the logs' share, how large that is."""

import pytest

from onejob.model.plan import Mount
from onejob.model.plan_policy import Log
from onejob.model.profile import FileUse, Profile, Traffic, Use
from onejob.planner.share import plan_data, plan_share, share_logs

LOGS, DATA = "/var/log/it", "/var/lib/it"
MOUNTS = (
    Mount(path="/run", kind="tmpfs", size_kib=1024, reason="written"),
    Mount(path=DATA, kind="data", reason="written"),
    Mount(path=LOGS, kind="data", reason="written"),
)
LOG = Log(path=f"{LOGS}/log", reason="extended")


def profile(*paths: str, moved: int = 0) -> Profile:
    def used(path: str, how: str) -> FileUse:
        use = Use.model_validate({"program": "/it", "drill": "serve", "how": how, "count": 1})
        return FileUse(path=path, kind="file", uses=(use,))

    files = (used(LOG.path, "appended"), *(used(path, "written") for path in paths))
    row = Traffic(
        program="/it", call_name="write", drill="serve", object=LOG.path, component="ext4",
        count=1, bytes=moved,
    )  # fmt: skip
    return Profile(name="it", program="/it", files=files, traffic=(row,))


def test_a_mount_with_nothing_but_logs_is_in_the_share() -> None:
    mounts, warnings = share_logs(profile(f"{DATA}/base"), MOUNTS, (LOG,))
    assert [mount.share for mount in mounts] == [False, False, True]
    assert warnings == ()


def test_data_beside_a_log_keeps_both_out_and_is_said() -> None:
    mounts, warnings = share_logs(profile(f"{LOGS}/base"), MOUNTS, (LOG,))
    assert not any(mount.share for mount in mounts)
    assert warnings == (
        f"{LOG.path} can fill the data partition: it lies beside {LOGS}/base, which is no log",
    )
    assert plan_share(profile(), mounts, (LOG,)) == ()


@pytest.mark.parametrize(
    ("moved", "kib"), [(0, 16384), (200_000, 16384), (1 << 20, 65536), ((1 << 20) + 1, 66560)]
)
def test_it_is_as_large_as_many_times_what_the_drills_wrote(moved: int, kib: int) -> None:
    taken = profile(moved=moved)
    mounts, _ = share_logs(taken, MOUNTS, (LOG,))
    (size,) = plan_share(taken, mounts, (LOG,))
    assert (size.name, size.kind, size.value, size.unit) == ("logs", "share", str(kib), "KiB")


def keeping(there: int, **written: int) -> Profile:
    """A service that has a file of `there` bytes, and writes to it by the calls of `written`."""
    kept = profile(f"{DATA}/base", moved=1 << 30)
    (log, base) = kept.files
    rows = tuple(
        Traffic(
            program="/it", call_name=call, drill="serve", object=base.path, component="ext4",
            count=1, bytes=moved,
        )
        for call, moved in written.items()
    )  # fmt: skip
    files = (log, base.model_copy(update={"size": there}))
    return kept.model_copy(update={"files": files, "traffic": (*kept.traffic, *rows)})


@pytest.mark.parametrize(
    ("there", "written", "kib"),
    [
        (0, {}, 0),
        (16 << 20, {}, 0),  # four times that are 64 MiB, which any disk has
        (16 << 20, {"write": 1}, 66560),
        (0, {"pwrite64": 50 << 20, "writev": 25 << 20, "read": 1 << 30}, 300 << 10),
    ],
)
def test_data_has_room_for_what_was_there_and_what_was_written(
    there: int, written: dict[str, int], kib: int
) -> None:
    """Logs, which have their share, are not in it."""
    taken = keeping(there, **written)
    mounts, _ = share_logs(taken, MOUNTS, (LOG,))
    found = plan_data(taken, mounts, (LOG,))
    assert [(size.name, size.kind, int(size.value)) for size in found] == (
        [("data", "share", kib)] if kib else []
    )
