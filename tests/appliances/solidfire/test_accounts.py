# SPDX-License-Identifier: Apache-2.0
"""Accounts as the reference has them: each test names its section."""

from __future__ import annotations

import pytest

from tests.appliances.solidfire.conftest import Bench
from tests.appliances.solidfire.sessions import LoginRefused, login


def test_an_account_has_these_members(bench: Bench) -> None:
    """3.2: account."""
    account = bench.ok("GetAccountByName", username="owner")["account"]
    assert account["status"] == "active"
    assert account["attributes"] == {}
    assert account["enableChap"] is True
    assert bench.ok("GetAccountByID", accountID=account["accountID"])["account"] == account


def test_usernames_are_unique_and_have_1_to_64_characters(bench: Bench) -> None:
    """3.2: username; 3.4: xDuplicateUsername."""
    bench.fails("xDuplicateUsername", "AddAccount", username="owner")
    bench.fails("xInvalidParameter", "AddAccount", username="")
    bench.fails("xInvalidParameter", "AddAccount", username="u" * 65)
    bench.ok("AddAccount", username="u" * 64)


def test_an_unknown_account(bench: Bench) -> None:
    """3.4: the message of xUnknownAccount is its name; xAccountIDDoesNotExist has the number."""
    assert bench.fails("xUnknownAccount", "GetAccountByName", username="nobody") == "xUnknownAccount"
    assert bench.fails("xAccountIDDoesNotExist", "GetAccountByID", accountID=25) == "Illegal AccountID 25"


def test_the_volumes_of_an_account_are_listed_until_they_are_purged(bench: Bench) -> None:
    """3.2: account.volumes includes deleted ones; 3.3: RemoveAccount is refused while any remain."""
    number = bench.volume()["volumeID"]
    bench.ok("DeleteVolume", volumeID=number)
    assert bench.ok("GetAccountByID", accountID=bench.account)["account"]["volumes"] == [number]
    bench.fails("xAccountHasVolumes", "RemoveAccount", accountID=bench.account)
    bench.ok("PurgeDeletedVolume", volumeID=number)
    assert bench.ok("RemoveAccount", accountID=bench.account) == {}
    bench.fails("xUnknownAccount", "GetAccountByName", username="owner")
    bench.ok("AddAccount", username="owner")


def test_a_removed_username_may_stay_taken(bench: Bench) -> None:
    """3.2 does not say whether the name of a removed account is free again, so both can be had."""
    bench.settings.names_are_free_again = False
    bench.ok("RemoveAccount", accountID=bench.account)
    bench.fails("xDuplicateUsername", "AddAccount", username="owner")


@pytest.mark.parametrize("secret", ["short-of-12", "longer-than-16-ch"])
def test_secrets_have_12_to_16_characters(bench: Bench, secret: str) -> None:
    """3.2: CHAP."""
    bench.fails("xInvalidParameter", "AddAccount", username="a", initiatorSecret=secret)


def test_secrets_must_differ_but_not_on_older_clusters(bench: Bench) -> None:
    """3.2: CHAP; 0.4: the old driver gave the same."""
    told = {"username": "a", "initiatorSecret": "A" * 12, "targetSecret": "A" * 12}
    bench.fails("xInvalidParameter", "AddAccount", **told)
    bench.settings.secrets_may_be_equal = True
    bench.ok("AddAccount", **told)


def test_an_initiator_presents_the_initiator_secret_of_the_account(bench: Bench) -> None:
    """3.2: one-way CHAP; 0.4: the old driver presented targetSecret."""
    iqn = bench.volume()["iqn"]
    account = bench.ok("GetAccountByID", accountID=bench.account)["account"]
    login(bench.cluster, "iqn.a", iqn, "owner", account["initiatorSecret"])
    with pytest.raises(LoginRefused, match="authorization"):
        login(bench.cluster, "iqn.a", iqn, "owner", account["targetSecret"])


def test_an_account_is_changed(bench: Bench) -> None:
    """3.3: ModifyAccount."""
    bench.ok("AddAccount", username="other")
    bench.fails("xDuplicateUsername", "ModifyAccount", accountID=bench.account, username="other")
    bench.ok("ModifyAccount", accountID=bench.account, attributes={"a": 1}, initiatorSecret="B" * 14)
    account = bench.ok("GetAccountByName", username="owner")["account"]
    assert (account["attributes"], account["initiatorSecret"]) == ({"a": 1}, "B" * 14)


def test_accounts_are_listed_in_parts(bench: Bench) -> None:
    """3.3: ListAccounts."""
    second = bench.ok("AddAccount", username="second")["accountID"]
    bench.ok("AddAccount", username="third")
    listed = bench.ok("ListAccounts", startAccountID=second, limit=1)["accounts"]
    assert [one["username"] for one in listed] == ["second"]
