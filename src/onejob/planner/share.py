"""The logs' share of the data partition: what lies in it, and how large it is."""

from collections.abc import Iterable, Sequence

from onejob.model.file_uses import is_written
from onejob.model.paths import is_below
from onejob.model.plan import Dimension, Mount
from onejob.model.plan_policy import Log
from onejob.model.profile import Profile

# Drills are short: what they wrote to logs may come so often before anybody rotates these.
_TIMES = 64
_LEAST_KIB = 16 * 1024


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
