"""The accounts of a profile: those the service was, with their groups, and those its texts name."""

import grp
import pwd
from pathlib import Path

import pytest

from onejob.model.profile import Account, FileUse, Group, How, Use
from onejob.profiler.accounts import described_accounts, names_in_texts

PASSWD = FileUse(
    path="/etc/passwd",
    kind="file",
    uses=(Use(program="/x", drill="start", how="read", count=1),),
)


def read(path: str, how: How = "read") -> FileUse:
    return PASSWD.model_copy(
        update={"path": path, "uses": (Use(program="/x", drill="start", how=how, count=1),)}
    )


def test_an_account_comes_with_its_groups() -> None:
    mail = pwd.getpwnam("mail")
    accounts, groups = described_accounts({mail.pw_uid}, set(), frozenset())
    assert accounts == (Account(name="mail", uid=mail.pw_uid, gid=mail.pw_gid, home=mail.pw_dir),)
    names = {group.gr_name for group in grp.getgrall() if "mail" in group.gr_mem}
    names.add(grp.getgrgid(mail.pw_gid).gr_name)
    assert {group.name for group in groups} == names
    assert {group.origin for group in groups} == {"observed"}


@pytest.mark.skipif(
    not any(row.gr_mem for row in grp.getgrall()), reason="no group here has a member"
)
def test_supplementary_groups_have_their_members_of_the_profile_alone() -> None:
    row = next(row for row in grp.getgrall() if row.gr_mem)
    member = pwd.getpwnam(row.gr_mem[0])
    _, groups = described_accounts({member.pw_uid}, set(), frozenset())
    (found,) = [group for group in groups if group.name == row.gr_name]
    assert found.members == (member.pw_name,)


def test_what_is_only_named_is_static() -> None:
    accounts, groups = described_accounts({0}, {0}, frozenset({"games", "no-such-account"}))
    assert [(a.name, a.origin) for a in accounts] == [("root", "observed"), ("games", "static")]
    gid = pwd.getpwnam("games").pw_gid
    games = grp.getgrgid(gid)
    static = [group for group in groups if group.origin == "static"]
    assert Group(name=games.gr_name, gid=gid, origin="static") in static


def test_names_are_words_of_texts_that_were_read(tmp_path: Path) -> None:
    text = tmp_path / "x.conf"
    text.write_text("user = uucp # not games\nowner: www-data;\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\0 news")
    files = (PASSWD, read(str(text)), read(str(binary)))
    assert names_in_texts(files) == {"user", "uucp", "owner", "www-data"}
    assert names_in_texts((PASSWD, read(str(text), "looked-up"))) == frozenset()


def test_nobody_who_reads_no_accounts_names_any(tmp_path: Path) -> None:
    text = tmp_path / "x.conf"
    text.write_text("user = uucp\n")
    assert names_in_texts((read(str(text)),)) == frozenset()
    assert names_in_texts((PASSWD, read("/usr/share/perl5/Debconf/Config.pm"))) == frozenset()
