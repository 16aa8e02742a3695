"""The account files of the image: only the users and groups that the profile shows, no passwords."""

from collections.abc import Mapping

from onejob.model.profile import Profile

_NO_SHELL = "/nonexistent"


def account_texts(profile: Profile) -> Mapping[str, str]:
    """The text of each account file that the service reads, by path (passwd(5), group(5))."""
    users = {account.name: account for account in profile.accounts}
    passwd = ["root:x:0:0:root:/:" + _NO_SHELL] + [
        f"{a.name}:x:{a.uid}:{a.gid}::{a.home}:{_NO_SHELL}" for a in users.values() if a.uid
    ]
    group = ["root:x:0:"] + [f"{g.name}:x:{g.gid}:" for g in profile.groups if g.gid]
    shadow = ["root:*:::::::"] + [f"{a.name}:*:::::::" for a in users.values() if a.uid]
    gshadow = ["root:*::"] + [f"{g.name}:*::" for g in profile.groups if g.gid]
    texts = {"passwd": passwd, "group": group, "shadow": shadow, "gshadow": gshadow}
    return {f"/etc/{name}": "\n".join(lines) + "\n" for name, lines in texts.items()}
