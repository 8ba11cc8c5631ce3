# SPDX-License-Identifier: Apache-2.0
"""Servers, permissions, CHAP (the reference's sections 0.3, 1.3, 1.5)."""

from __future__ import annotations

from tests.appliances.lefthand.client import Client
from tests.appliances.lefthand.conftest import Install


def server(array: Client, name: str = "n1", rest: str = "") -> None:
    array.ok(f"createServer serverName={name} initiator=iqn.2026-01.test:{name} {rest}")


def permissions(array: Client, name: str = "v1") -> list[dict[str, str]]:
    return array.ok(f"getVolumeInfo volumeName={name}").all("permission")


def test_an_unknown_server(array: Client) -> None:
    """0.3: the result is not 0; which it is, no source says."""
    told = array.run("getServerInfo serverName=n1")
    assert told.result not in ("0", "1")
    assert told.status != 0
    assert "not found" in told.description


def test_a_volume_tells_who_may_reach_it(array: Client) -> None:
    """1.3: one <permission> beside the <status> for each server, its secrets in clear."""
    array.volume()
    server(array, "n1", "useChap=1 chapName=u1 targetSecret=abcdefghijkl initiatorSecret=mnopqrstuvwx")
    server(array, "n2")
    array.ok("assignVolumeToServer volumeName=v1 serverName=n1")
    array.ok("assignVolumeToServer volumeName=v1 serverName=n2 accessRights=r")
    first, second = permissions(array)
    assert first == {
        "access": "rw",
        "authGroup": "n1",
        "chapName": "u1",
        "chapRequired": "true",
        "id": first["id"],
        "initiatorSecret": "mnopqrstuvwx",
        "iqn": "iqn.2026-01.test:n1",
        "iscsiEnabled": "true",
        "loadBalance": "true",
        "targetSecret": "abcdefghijkl",
    }
    assert (second["authGroup"], second["access"], second["chapRequired"]) == ("n2", "r", "false")


def test_assigning_twice(install: Install) -> None:
    """1.4, 1.6: CliqNothingDone with exit status 1, which is success; or plain success."""
    for nothing_done, result in ((True, "1"), (False, "0")):
        array = install(repeated_assignment_is_nothing_done=nothing_done)
        array.volume()
        server(array)
        array.ok("assignVolumeToServer volumeName=v1 serverName=n1")
        told = array.run("assignVolumeToServer volumeName=v1 serverName=n1")
        assert (told.result, told.status) == (result, int(result))
        assert len(permissions(array)) == 1


def test_unassigning_leaves_the_others(array: Client) -> None:
    """1.5: one server's permission goes."""
    array.volume()
    for name in ("n1", "n2"):
        server(array, name)
        array.ok(f"assignVolumeToServer volumeName=v1 serverName={name}")
    array.ok("unassignVolumeToServer volumeName=v1 serverName=n1")
    assert [one["authGroup"] for one in permissions(array)] == ["n2"]
    assert array.run("unassignVolumeToServer volumeName=v1 serverName=n1").result == "1"


def test_assignvolume_replaces(array: Client) -> None:
    """1.5: the trap: each call replaces all permissions; made-up names begin with api-."""
    array.volume()
    server(array)
    array.ok("assignVolumeToServer volumeName=v1 serverName=n1")
    array.ok("assignVolume volumeName=v1 initiator=iqn.a;iqn.b")
    assert [one["iqn"] for one in permissions(array)] == ["iqn.a", "iqn.b"]
    assert all(one["authGroup"].startswith("api-") for one in permissions(array))
    array.ok("assignVolume volumeName=v1 initiator=iqn.c accessRights=r")
    assert [(one["iqn"], one["access"]) for one in permissions(array)] == [("iqn.c", "r")]
    array.ok("unassignVolume volumeName=v1")
    assert permissions(array) == []


def test_chap_secrets_have_a_length(array: Client) -> None:
    """0.3, 1.5: at least 12 characters."""
    words = array.refused(
        "createServer serverName=n1 initiator=iqn.x useChap=1 chapName=u targetSecret=short"
    )
    assert "12 characters" in words
    array.volume()
    assert "12 characters" in array.refused("assignVolumeChap volumeName=v1 chapName=u targetSecret=short")
    array.ok("assignVolumeChap volumeName=v1 chapName=u targetSecret=abcdefghijkl")
    (told,) = permissions(array)
    assert (told["chapName"], told["chapRequired"], told["targetSecret"]) == ("u", "true", "abcdefghijkl")


def test_a_server_is_there_once(array: Client) -> None:
    """1.5: its name is the group's, and an initiator is in one server."""
    server(array)
    assert "already exists" in array.refused("createServer serverName=n1 initiator=iqn.other")
    words = array.refused("createServer serverName=n9 initiator=iqn.2026-01.test:n1")
    assert "already exists in server 'n1'" in words


def test_servers_are_deleted(array: Client) -> None:
    """1.5: and what they could reach, they reach no more."""
    array.volume()
    server(array)
    array.ok("assignVolumeToServer volumeName=v1 serverName=n1")
    array.ok("deleteServer serverName=n1 prompt=false")
    assert permissions(array) == []
    assert "not found" in array.run("assignVolumeToServer volumeName=v1 serverName=n1").description
