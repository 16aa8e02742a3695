"""Whoever is not root: commands run as such a user, who can reach this Python."""

import sys
from pathlib import Path

USER = 12345  # no account, so that nothing of this machine is his
_AS_USER = f"setpriv --reuid={USER} --regid={USER} --clear-groups"
# In a user namespace of a user who is not root already, in which no further one can be made.
_ENOUGH = (
    f"unshare -U --map-user={USER} --map-group={USER} --keep-caps"
    ' sh -c "echo 0 >/proc/sys/user/max_user_namespaces; exec \\"\\$@\\"" x'
)


def as_user(*words: str | Path, namespaces: bool = True) -> list[str]:
    """The words to run `words` as USER, who may make user namespaces, or not.

    Python may lie below a home that is root's alone: it is bound into an open one, which only that
    command sees.
    """
    script = "set -e\n"
    python = Path(sys.base_prefix).resolve()
    closed = [folder for folder in reversed(python.parents) if not folder.stat().st_mode & 1]
    if closed:
        script += f"mount --bind {python} /mnt && mount -t tmpfs -o mode=755 none {closed[0]}\n"
        script += f"mkdir -p {python} && mount --bind /mnt {python}\n"
    script += f'exec {_AS_USER} {"" if namespaces else _ENOUGH} "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "as_user", *map(str, words)]
