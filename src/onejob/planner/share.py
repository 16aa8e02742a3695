"""The data partition: how large it is, the logs' share of it, and what lies in that."""

from collections.abc import Iterable, Sequence

from onejob.model.file_uses import is_written
from onejob.model.paths import is_below
from onejob.model.plan import LEAST_DATA_MIB, Dimension, Mount
from onejob.model.plan_policy import Log
from onejob.model.profile import Profile

# Drills are short: what they wrote to logs may come so often before anybody rotates these.
_TIMES = 64
_LEAST_KIB = 16 * 1024
# What is written again at the same place is counted each time, so that this is more than it seems.
_TIMES_DATA = 4
_WRITING = frozenset({"write", "writev", "pwrite64", "pwritev", "pwritev2", "copy_file_range"})


def share_logs(
    profile: Profile, mounts: Sequence[Mount], logs: Iterable[Log]
) -> tuple[tuple[Mount, ...], tuple[str, ...]]:
    """The mounts, of which those with nothing but logs are in the share; warnings about others."""
    paths = {log.path for log in logs}
    data = [file.path for file in profile.files if is_written(file) and file.path not in paths]
    found, warnings = [], []
    for mount in mounts:
        inside = sorted(path for path in paths if is_below(path, mount.path))
        beside = next((path for path in data if is_below(path, mount.path)), "")
        alone = mount.kind == "data" and bool(inside) and not beside
        found.append(mount.model_copy(update={"share": True}) if alone else mount)
        if mount.kind == "data" and inside and beside:
            warnings.append(
                f"{inside[0]} can fill the data partition: it lies beside {beside}, which is no log"
            )
    return tuple(found), tuple(warnings)


def plan_space(
    profile: Profile, mounts: Sequence[Mount], logs: Sequence[Log]
) -> tuple[Dimension, ...]:
    """What of the data partition the logs may take, and what data needs."""
    return plan_share(profile, mounts, logs) + plan_data(profile, mounts, logs)


def plan_share(
    profile: Profile, mounts: Iterable[Mount], logs: Iterable[Log]
) -> tuple[Dimension, ...]:
    """How large the share is; nothing where nothing lies in it."""
    if not any(mount.share for mount in mounts):
        return ()
    paths = {log.path for log in logs}
    # Reads of a log are in it, too, which only makes it larger.
    moved = sum(row.bytes for row in profile.traffic if row.object in paths)
    wanted_kib = -(-moved * _TIMES // (1 << 20)) * 1024
    return (
        Dimension(
            name="logs", kind="share", value=str(max(wanted_kib, _LEAST_KIB)), unit="KiB",
            source=f"{-(-moved // 1024)} KiB of logs under the drills",
            head_room=f"x {_TIMES}, at least {_LEAST_KIB} KiB",
            reason="all logs together; beyond it they are refused, and data has the rest",
        ),
    )  # fmt: skip


def plan_data(
    profile: Profile, mounts: Iterable[Mount], logs: Iterable[Log]
) -> tuple[Dimension, ...]:
    """How much room data needs beside the logs; nothing where the usual disk has it anyway."""
    folders = [mount.path for mount in mounts if mount.kind == "data" and not mount.share]
    paths = {log.path for log in logs}

    def is_data(path: str) -> bool:
        return path not in paths and any(is_below(path, folder) for folder in folders)

    there = sum(file.size or 0 for file in profile.files if is_data(file.path))
    written = sum(
        row.bytes for row in profile.traffic if row.call_name in _WRITING and is_data(row.object)
    )
    wanted_kib = -(-(there + written) * _TIMES_DATA // (1 << 20)) * 1024
    if wanted_kib <= LEAST_DATA_MIB * 1024:
        return ()
    return (
        Dimension(
            name="data", kind="share", value=str(wanted_kib), unit="KiB",
            source=f"{there >> 10} KiB at first, {written >> 10} KiB written under the drills",
            head_room=f"x {_TIMES_DATA}, at least {LEAST_DATA_MIB} MiB",
            reason="a disk that is made for data has as much, and the logs' share besides",
        ),
    )  # fmt: skip
