"""The account files of the image: only the accounts that the profile shows, no passwords.

They are complete, so names are looked up in them alone (and hosts in DNS): the host's other name
service modules would ask daemons that the image does not have.
"""

import posixpath
from collections.abc import Mapping

from onejob.model.errors import InputError
from onejob.model.paths import resolve
from onejob.model.plan import LeftOut, PlannedFile
from onejob.model.profile import Account, Group, Profile
from onejob.model.workload import Workload

_NO_SHELL = "/nonexistent"
NAME_SERVICE_SWITCH = "/etc/nsswitch.conf"
_SWITCH_TEXT = """\
passwd: files
group: files
shadow: files
gshadow: files
hosts: files dns
networks: files
protocols: files
services: files
"""


def account_texts(profile: Profile) -> Mapping[str, str]:
    """The text of each account file that the service reads, by path (passwd(5), group(5))."""
    groups = {"root": Group(name="root", gid=0), **{g.name: g for g in profile.groups}}
    users = {account.name: account for account in profile.accounts}
    passwd = ["root:x:0:0:root:/:" + _NO_SHELL] + [
        f"{a.name}:x:{a.uid}:{a.gid}::{a.home}:{_NO_SHELL}" for a in users.values() if a.uid
    ]
    group = [f"{g.name}:x:{g.gid}:{','.join(g.members)}" for g in groups.values()]
    shadow = ["root:*:::::::"] + [f"{a.name}:*:::::::" for a in users.values() if a.uid]
    gshadow = [f"{g.name}:*::{','.join(g.members)}" for g in groups.values()]
    texts = {"passwd": passwd, "group": group, "shadow": shadow, "gshadow": gshadow}
    files = {f"/etc/{name}": "\n".join(lines) + "\n" for name, lines in texts.items()}
    return {**files, NAME_SERVICE_SWITCH: _SWITCH_TEXT}


def account_named(name: str, profile: Profile) -> Account:
    """The account as the machine that was profiled defines it; root needs no definition."""
    root = Account(name="root", uid=0, gid=0)
    found = next((account for account in profile.accounts if account.name == name), None)
    if found is None and name != "root":
        raise InputError(
            f"the profile of {profile.name} does not define the account {name!r}",
            "profile again where that account exists",
        )
    return found or root


def service_folders(workload: Workload, profile: Profile) -> tuple[PlannedFile, ...]:
    """The folders that have to be there before the service starts, as the workload wants them."""
    groups = {"root": 0, **{group.name: group.gid for group in profile.groups}}
    for folder in workload.folders:
        if folder.group not in groups:
            raise InputError(f"the profile of {profile.name} has no group {folder.group!r}")
    return tuple(
        PlannedFile(
            path=folder.path,
            kind="directory",
            origin="none",
            mode=folder.mode,
            uid=account_named(folder.user, profile).uid,
            gid=groups[folder.group],
            reasons=("one of the workload's folders",),
        )
        for folder in workload.folders
    )


def idle_libraries(profile: Profile) -> tuple[LeftOut, ...]:
    """Name service modules that the image's nsswitch.conf(5) never loads, and what only they need.

    The modules `files` and `dns` are part of the C library (glibc 2.34).
    """
    if profile.file(NAME_SERVICE_SWITCH) is None:
        return ()
    needs = {file.path: file.needed for file in profile.files if file.kind == "file"}
    ends = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    idle = {path for path in needs if posixpath.basename(path).startswith("libnss_")}
    while True:
        used = {end for path in needs.keys() - idle for end in _ends(needs[path], ends)}
        wanted = {end for path in idle for end in _ends(needs[path], ends)}
        more = (wanted & needs.keys()) - used - idle
        if not more:
            break
        idle |= more
    links = {link for link in ends if set(resolve(link, ends)) & idle}
    reason = f"only name service modules that the image's {NAME_SERVICE_SWITCH} leaves out load it"
    return tuple(LeftOut(path=path, reason=reason) for path in sorted(idle | links))


def _ends(paths: tuple[str, ...], links: Mapping[str, str]) -> set[str]:
    return {resolve(path, links)[-1] for path in paths}
