"""Accounts become numbers, and one that is not there is named."""

import grp
import os
import pwd

import pytest

from onejob.base.accounts import Identity, group_of, identity_of
from onejob.model.errors import InputError


def test_an_account_is_its_user_group_and_further_groups() -> None:
    assert identity_of("root")[:2] == (0, 0)
    row = pwd.getpwnam("nobody")
    found = identity_of("nobody")
    assert (found.uid, found.gid) == (row.pw_uid, row.pw_gid)
    assert found.groups == tuple(sorted({*os.getgrouplist("nobody", row.pw_gid)} - {row.pw_gid}))
    assert group_of("daemon") == grp.getgrnam("daemon").gr_gid


def test_it_is_handed_on_as_text() -> None:
    assert Identity(1, 2).text() == "1:2:"
    assert Identity(1, 2, (3, 4)).text() == "1:2:3,4"


def test_an_account_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="no account 'onejob-none'"):
        identity_of("onejob-none")
    with pytest.raises(InputError, match="no group 'onejob-none'"):
        group_of("onejob-none")
