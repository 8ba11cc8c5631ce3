# SPDX-License-Identifier: Apache-2.0
"""Accounts: who owns volumes, with the secrets of CHAP (sections 3.2 and 3.3)."""

from __future__ import annotations

import secrets
import string
import uuid
from typing import TYPE_CHECKING

from tests.appliances.solidfire.cluster import method
from tests.appliances.solidfire.errors import ElementError, exceeded

if TYPE_CHECKING:
    from tests.appliances.solidfire.cluster import Cluster, Object, Parameters

ALPHABET = string.ascii_letters + string.digits


def secret() -> str:
    """A secret such as the cluster makes them."""
    return "".join(secrets.choice(ALPHABET) for _ in range(16))


def check_secrets(cluster: Cluster, *pair: str) -> None:
    """Raise unless these can be an initiatorSecret and a targetSecret."""
    for one in pair:
        if not cluster.limit("secretLengthMin") <= len(one) <= cluster.limit("secretLengthMax"):
            raise ElementError("xInvalidParameter", "secrets must have 12 to 16 characters")
    if len(set(pair)) < len(pair) and not cluster.settings.secrets_may_be_equal:
        raise ElementError("xInvalidParameter", "initiatorSecret and targetSecret must be different")


def shown(cluster: Cluster, account: Object) -> Object:
    """An account with its volumes, those that are deleted but not purged among them."""
    number = account["accountID"]
    volumes = [one["volumeID"] for one in cluster.volumes.values() if one["accountID"] == number]
    return {**account, "volumes": volumes}


def _by_name(cluster: Cluster, username: str) -> Object | None:
    for account in cluster.accounts.values():
        if account["username"] == username and account["status"] != "removed":
            return account
    return None


@method
def add_account(cluster: Cluster, parameters: Parameters) -> Object:
    username = parameters.need("username", str)
    if not 1 <= len(username) <= cluster.limit("accountNameLengthMax"):
        raise ElementError("xInvalidParameter", "username must have 1 to 64 characters")
    taken = [
        one
        for one in cluster.accounts.values()
        if one["username"] == username
        and (one["status"] != "removed" or not cluster.settings.names_are_free_again)
    ]
    if taken:
        raise ElementError("xDuplicateUsername", f"Username {username} already exists")
    if len([one for one in cluster.accounts.values() if one["status"] != "removed"]) >= cluster.limit(
        "accountCountMax"
    ):
        raise exceeded("accounts")
    initiator_secret = parameters.get("initiatorSecret", str, secret())
    target_secret = parameters.get("targetSecret", str, secret())
    check_secrets(cluster, initiator_secret, target_secret)
    number = cluster.number("account")
    cluster.accounts[number] = {
        "accountID": number,
        "username": username,
        "status": "active",
        "initiatorSecret": initiator_secret,
        "targetSecret": target_secret,
        "attributes": parameters.attributes() or {},
        "enableChap": parameters.get("enableChap", bool, True),
        "storageContainerID": str(uuid.UUID(int=0)),
    }
    return {"accountID": number, "account": shown(cluster, cluster.accounts[number])}


@method
def get_account_by_name(cluster: Cluster, parameters: Parameters) -> Object:
    account = _by_name(cluster, parameters.need("username", str))
    if account is None:
        raise ElementError("xUnknownAccount", "xUnknownAccount")
    return {"account": shown(cluster, account)}


@method
def get_account_by_id(cluster: Cluster, parameters: Parameters) -> Object:
    return {"account": shown(cluster, cluster.account(parameters.need("accountID", int)))}


@method
def list_accounts(cluster: Cluster, parameters: Parameters) -> Object:
    start, limit = parameters.get("startAccountID", int, 0), parameters.get("limit", int, 0)
    found = [
        shown(cluster, one)
        for number, one in sorted(cluster.accounts.items())
        if number >= start and one["status"] != "removed"
    ]
    return {"accounts": found[: limit or None]}


@method
def modify_account(cluster: Cluster, parameters: Parameters) -> Object:
    account = cluster.account(parameters.need("accountID", int))
    new = {
        "initiatorSecret": parameters.get("initiatorSecret", str, account["initiatorSecret"]),
        "targetSecret": parameters.get("targetSecret", str, account["targetSecret"]),
    }
    check_secrets(cluster, *new.values())
    username = parameters.get("username", str, account["username"])
    other = _by_name(cluster, username)
    if other is not None and other is not account:
        raise ElementError("xDuplicateUsername", f"Username {username} already exists")
    attributes = parameters.attributes()
    account.update(new, username=username)
    if attributes is not None:
        account["attributes"] = attributes
    return {"account": shown(cluster, account)}


@method
def remove_account(cluster: Cluster, parameters: Parameters) -> Object:
    account = cluster.account(parameters.need("accountID", int))
    if shown(cluster, account)["volumes"]:
        raise ElementError("xAccountHasVolumes", "The account has volumes, which may be deleted ones")
    account["status"] = "removed"
    return {}
