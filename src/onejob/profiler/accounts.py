"""The accounts and groups of a service, as the host defines them: those it was, and those it names.

A configuration may name accounts that the service asks for when it starts, without ever being one.
"""

import re
from collections.abc import Iterable, Set

from onejob.base.accounts import account_rows, group_rows
from onejob.model.paths import is_below
from onejob.model.profile import Account, FileUse, Group, Origin
from onejob.profiler.static.names import ACCOUNT_FILES, read_text, without_comments


def described_accounts(
    users: Set[int], groups: Set[int], names: Set[str]
) -> tuple[tuple[Account, ...], tuple[Group, ...]]:
    """The accounts of the given ids, and, as static ones, of `names`; each with all its groups.

    What the host does not define is left out.
    """
    accounts = tuple(
        Account(
            name=row.pw_name,
            uid=row.pw_uid,
            gid=row.pw_gid,
            home=row.pw_dir,
            origin=_origin(row.pw_uid in users),
        )
        for row in sorted(account_rows(), key=lambda row: (row.pw_uid, row.pw_name))
        if row.pw_uid in users or row.pw_name in names
    )
    own = {account.gid for account in accounts}
    seen = groups | {account.gid for account in accounts if account.origin == "observed"}
    found = []
    for row in sorted(group_rows(), key=lambda row: (row.gr_gid, row.gr_name)):
        members = [account for account in accounts if account.name in row.gr_mem]
        observed = row.gr_gid in seen or any(a.origin == "observed" for a in members)
        if observed or members or row.gr_gid in own or row.gr_name in names:
            named = tuple(account.name for account in members)
            origin = _origin(observed)
            found.append(Group(name=row.gr_name, gid=row.gr_gid, members=named, origin=origin))
    return accounts, tuple(found)


def _origin(observed: bool) -> Origin:
    return "observed" if observed else "static"


def names_in_texts(files: Iterable[FileUse]) -> frozenset[str]:
    """The words of what the service read, if it looks up accounts: configuration, not code."""
    files = tuple(files)
    read = [f for f in files if f.kind == "file" and any(use.how == "read" for use in f.uses)]
    if not any(file.path in ACCOUNT_FILES for file in read):
        return frozenset()
    texts = (
        without_comments(read_text(file.path))
        for file in read
        if file.path not in ACCOUNT_FILES and not is_below(file.path, "/usr")
    )
    return frozenset(word for text in texts for word in re.findall(r"[\w-]+", text))
