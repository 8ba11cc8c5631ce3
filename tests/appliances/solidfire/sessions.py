# SPDX-License-Identifier: Apache-2.0
"""Who may reach which volume, and who is logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.appliances.solidfire.cluster import method

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.appliances.solidfire.cluster import Cluster, Object, Parameters


class LoginRefused(Exception):
    """The target lets this initiator not in."""


def is_served(volume: Object) -> bool:
    """Whether a volume is exported at all."""
    return volume["status"] == "active" and volume["access"] in ("readWrite", "readOnly")


def members(cluster: Cluster, volume: Object) -> list[Object]:
    """The initiators that reach a volume by an access group, for which CHAP of the account is not asked."""
    numbers = [
        number
        for group in cluster.groups.values()
        if volume["volumeID"] in group["volumes"]
        for number in group["initiatorIDs"]
    ]
    return [cluster.initiators[number] for number in dict.fromkeys(numbers)]


def login(
    cluster: Cluster, initiator: str, iqn: str, user: str | None = None, password: str | None = None
) -> Object:
    """What a login to the SVIP does: a session. Raises LoginRefused."""
    with cluster.lock:
        for volume in cluster.volumes.values():
            if volume["iqn"] == iqn and is_served(volume):
                if not _lets_in(cluster, volume, initiator.lower(), user, password):
                    raise LoginRefused("authorization failure")
                return add(cluster, initiator.lower(), volume)
        raise LoginRefused("target not found")


def _lets_in(
    cluster: Cluster, volume: Object, initiator: str, user: str | None, password: str | None
) -> bool:
    for member in members(cluster, volume):
        if member["initiatorName"] == initiator:
            secrets = (member.get("chapUsername"), member.get("initiatorSecret"))
            return not member.get("requireChap") or (user, password) == secrets
    account = cluster.account(volume["accountID"])
    return account["enableChap"] and (user, password) == (account["username"], account["initiatorSecret"])


def add(cluster: Cluster, initiator: str, volume: Object) -> Object:
    """A session of an initiator that was let in, by an access group or by the account's secret."""
    number = cluster.number("session")
    account = cluster.accounts[volume["accountID"]]
    cluster.sessions[number] = {
        "sessionID": number,
        "accountID": account["accountID"],
        "accountName": account["username"],
        "initiatorName": initiator,
        "initiatorIP": "127.0.0.1:40000",
        "targetName": volume["iqn"],
        "targetIP": f"{cluster.settings.svip}:3260",
        "volumeID": volume["volumeID"],
        "nodeID": 1,
        "createTime": cluster.now(),
        "by_account": initiator not in [one["initiatorName"] for one in members(cluster, volume)],
    }
    return cluster.sessions[number]


def end(cluster: Cluster, which: Callable[[Object], bool]) -> None:
    """End sessions."""
    for number, session in list(cluster.sessions.items()):
        if which(session):
            del cluster.sessions[number]


def end_those_without_access(cluster: Cluster) -> None:
    """End the sessions that an access group gave and gives no more, if this cluster does that."""
    if not cluster.settings.removal_ends_sessions:
        return

    def is_lost(session: Object) -> bool:
        volume = cluster.volumes[session["volumeID"]]
        if not is_served(volume):
            return True
        names = [one["initiatorName"] for one in members(cluster, volume)]
        return session["initiatorName"] not in names and not session["by_account"]

    end(cluster, is_lost)


@method
def list_iscsi_sessions(cluster: Cluster, parameters: Parameters) -> Object:
    cluster.look_at_sessions()
    hidden = "by_account"
    return {
        "sessions": [
            {member: value for member, value in session.items() if member != hidden}
            for session in cluster.sessions.values()
        ]
    }
