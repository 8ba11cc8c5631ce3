# SPDX-License-Identifier: Apache-2.0
"""Who may reach a volume: servers and assignments, CHAP, addresses."""

from __future__ import annotations

import re

import pytest

from extstorage_common.backends.lefthand import LeftHandBackend
from extstorage_common.backends.lefthand_exports import ChapDiffers, InitiatorTaken, NoCluster, NoPortal
from tests.lefthand.conftest import ArraySite

I1 = {"initiator": "iqn.2026-01.test:n1"}
I2 = {"initiator": "iqn.2026-01.test:n2"}


@pytest.fixture
def one(site: ArraySite) -> LeftHandBackend:
    """The first node's backend, of which one volume is there."""
    backend = site.backend("n1")
    backend.create_volume("v1", 64)
    return site.backend("n1")


def test_the_connection(site: ArraySite, one: LeftHandBackend) -> None:
    connection = one.initialize_connection(one.get_volume("v1"), I1)
    assert connection["driver_volume_type"] == "iscsi"
    data = connection["data"]
    (server,) = site.state()["servers"].values()
    iqn = data["target_iqn"]
    assert re.fullmatch(r"iqn\.2003-10\.com\.lefthandnetworks:lab:\d+:v1", iqn)
    assert re.fullmatch(r"naa\.6000eb3[0-9a-f]{25}", data["wwn"])
    assert data["wwn"].endswith(f"{int(iqn.split(':')[2]):016x}")
    del data["wwn"], data["serial"]
    assert data == {
        "target_discovered": False,
        "target_portal": "127.0.0.1:3260",
        "target_iqn": iqn,
        "target_lun": 0,
        "target_portals": ["127.0.0.1:3260"],
        "target_iqns": [iqn],
        "target_luns": [0],
        "auth_method": "CHAP",
        "auth_username": server["chap_name"],
        "auth_password": server["target_secret"],
        "connector": "iscsiadm",
        "access_mode": "rw",
        "encrypted": False,
        "discard": False,
        "size": 64 << 20,
    }


def test_a_node_is_registered_once(site: ArraySite, one: LeftHandBackend) -> None:
    """With one secret, which the array keeps; for another volume, and again later, it is found."""
    first = one.initialize_connection(one.get_volume("v1"), I1)
    one.create_volume("v2", 16)
    site.asked()
    later = site.backend("n1")
    second = later.initialize_connection(later.get_volume("v2"), I1)
    assert site.asked() == ["getVolumeInfo", "assignVolumeToServer", "getVolumeInfo", "getClusterInfo"]
    again = later.initialize_connection(later.get_volume("v2"), I1)
    assert len(site.state()["servers"]) == 1
    passwords = {one["data"]["auth_password"] for one in (first, second, again)}
    assert len(passwords) == 1
    assert re.fullmatch("[A-Za-z0-9]{16}", passwords.pop())


def test_nodes_do_not_take_each_others_access(site: ArraySite, one: LeftHandBackend) -> None:
    """0.3, 1.5: assignments are added and taken away one by one."""
    one.initialize_connection(one.get_volume("v1"), I1)
    two = site.backend("n2")
    two.initialize_connection(two.get_volume("v1"), I2)
    site.cliq("createServer serverName=backup initiator=iqn.2026-01.test:backup")
    site.cliq("assignVolumeToServer volumeName=v1 serverName=backup")
    three = site.backend("n2")
    volume = three.get_volume("v1")
    assert three.attached_nodes(volume) == ["n1", "n2"]
    for _ in range(2):
        three.terminate_connection(volume, I2)
    assert site.backend("n1").attached_nodes(volume) == ["n1"]
    assert len(site.state()["volumes"]["v1"]["servers"]) == 2
    three.revoke_connection(site.backend("n2").get_volume("v1"), "n1")
    assert site.state()["volumes"]["v1"]["servers"] == ["backup"]


def test_an_export_that_was_lost_is_made_again(site: ArraySite, one: LeftHandBackend) -> None:
    """The same disk."""
    before = one.initialize_connection(one.get_volume("v1"), I1)
    site.cliq("unassignVolume volumeName=v1")
    two = site.backend("n1")
    assert two.initialize_connection(two.get_volume("v1"), I1) == before
    server = next(iter(site.state()["servers"]))
    site.cliq(f"deleteServer serverName={server} prompt=false")
    three = site.backend("n1")
    after = three.initialize_connection(three.get_volume("v1"), I1)
    assert after["data"]["wwn"] == before["data"]["wwn"]
    assert after["data"]["target_iqn"] == before["data"]["target_iqn"]


def test_without_chap(site: ArraySite, one: LeftHandBackend) -> None:
    site.pool_options("chap = none")
    backend = site.backend("n1")
    data = backend.initialize_connection(backend.get_volume("v1"), I1)["data"]
    assert data["auth_method"] == "None"
    assert not [key for key in data if "password" in key]
    site.pool_options()
    other = site.backend("n1")
    with pytest.raises(ChapDiffers, match="says chap = none and pool 'default' wants one-way"):
        other.initialize_connection(other.get_volume("v1"), I1)


def test_an_array_that_proves_who_it_is(site: ArraySite, one: LeftHandBackend) -> None:
    """With a secret that it has for the node, and one of two names."""
    site.pool_options("chap = mutual")
    backend = site.backend("n1")
    volume = backend.get_volume("v1")
    data = backend.initialize_connection(volume, I1)["data"]
    (server,) = site.state()["servers"].values()
    assert data["mutual_auth_username"] == data["auth_username"] == server["chap_name"]
    assert data["mutual_auth_password"] == server["initiator_secret"] != server["target_secret"]
    site.pool_options("chap = mutual", "mutual_chap_name = target")
    data = site.backend("n1").initialize_connection(volume, I1)["data"]
    assert data["mutual_auth_username"] == data["target_iqn"]
    site.pool_options()
    with pytest.raises(ChapDiffers, match="says chap = mutual"):
        site.backend("n1").initialize_connection(volume, I1)


def test_an_initiator_that_another_server_has(site: ArraySite, one: LeftHandBackend) -> None:
    site.cliq("createServer serverName=esx1 initiator=iqn.2026-01.test:n1")
    with pytest.raises(InitiatorTaken, match="esx1"):
        one.initialize_connection(one.get_volume("v1"), I1)
    assert list(site.state()["servers"]) == ["esx1"]


def test_a_node_with_a_new_initiator_name(site: ArraySite, one: LeftHandBackend) -> None:
    """A node that was installed anew: what it had before goes with its next detach."""
    one.initialize_connection(one.get_volume("v1"), I1)
    later = site.backend("n1")
    later.initialize_connection(later.get_volume("v1"), I2)
    last = site.backend("n1")
    volume = last.get_volume("v1")
    assert last.attached_nodes(volume) == ["n1"]
    last.terminate_connection(volume, I2)
    assert site.state()["volumes"]["v1"]["servers"] == []


def test_forgetting_a_node(site: ArraySite, one: LeftHandBackend) -> None:
    one.initialize_connection(one.get_volume("v1"), I1)
    site.cliq("createServer serverName=esx1 initiator=iqn.2026-01.test:esx1")
    ((server, _), _) = site.state()["servers"].items()
    assert one.forget_node("n1", dry_run=True) == [f"server {server}"]
    assert len(site.state()["servers"]) == 2
    assert one.forget_node("n2", dry_run=False) == []
    assert one.forget_node("n1", dry_run=False) == [f"server {server}"]
    assert list(site.state()["servers"]) == ["esx1"]


@pytest.mark.parametrize(
    ("facts", "option", "portals"),
    [
        ({"vips": ["10.0.0.9"]}, "", ["10.0.0.9:3260"]),
        ({"vips": ["10.0.0.9", "10.0.1.9"]}, "", ["10.0.0.9:3260", "10.0.1.9:3260"]),
        ({"vips": [], "nodes": ["10.0.0.2", "10.0.0.3"]}, "", ["10.0.0.2:3260"]),
        ({"vips": ["2001:db8::9"]}, "", ["[2001:db8::9]:3260"]),
        ({}, "portals = 192.0.2.1, 192.0.2.2:3261", ["192.0.2.1:3260", "192.0.2.2:3261"]),
    ],
)
def test_addresses(site: ArraySite, facts: dict[str, list[str]], option: str, portals: list[str]) -> None:
    """0.3: the old driver wanted exactly one virtual address. None, several, or what the pool says."""
    site.array.call("facts", **facts)
    site.pool_options(option)
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    site.asked()
    data = backend.initialize_connection(volume, I1)["data"]
    assert data["target_portals"] == portals
    assert data["target_portal"] == portals[0]
    assert len(data["target_iqns"]) == len(data["target_luns"]) == len(portals)
    assert ("getClusterInfo" in site.asked()) == (not option)


def test_no_address(site: ArraySite, one: LeftHandBackend) -> None:
    site.array.call("facts", vips=[], nodes=[])
    with pytest.raises(NoPortal):
        one.initialize_connection(one.get_volume("v1"), I1)


def test_of_several_clusters_the_right_one(site: ArraySite) -> None:
    """0.3: the old driver took the first that was told (its bug 1279897)."""
    site.array.call("reset", other_clusters=["c0"])
    assert site.backend("n1").exports.cluster().get("name") == "c1"
    clusters = '<cluster name="c0"/><cluster name="c1" spaceTotal="7"/>'
    two = f'<gauche><response result="0">{clusters}</response></gauche>'
    site.array.fault("reply", "getClusterInfo", value={"stdout": two})
    assert site.backend("n1").exports.cluster().get("spaceTotal") == "7"
    site.array.fault("reply", "getClusterInfo", value={"stdout": two.replace("c1", "c2")})
    with pytest.raises(NoCluster):
        site.backend("n1").capacity()


def test_odd_capacities_do_not_fail(site: ArraySite) -> None:
    """1.3: the unit depends on the version, and may be missing."""
    none = '<gauche><response result="0"><cluster name="c1" spaceTotal="?"/></response></gauche>'
    site.array.fault("reply", "getClusterInfo", value={"stdout": none})
    assert site.backend("n1").capacity() == (0, 0)


def test_the_names_of_disks_can_be_said(site: ArraySite, one: LeftHandBackend) -> None:
    """1.3: whether they begin with the cluster's md5 is not proven, so the administrator may say it."""
    site.pool_options("naa_prefix = 6000eb3b55860573")
    backend = site.backend("n1")
    data = backend.initialize_connection(backend.get_volume("v1"), I1)["data"]
    number = int(data["target_iqn"].split(":")[2])
    assert data["wwn"] == f"naa.6000eb3b55860573{number:016x}"


def test_secrets_stay_out_of_logs(
    site: ArraySite, one: LeftHandBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are said, and those that the array tells in clear."""
    monkeypatch.setenv("EXTSTORAGE_LOG_DIR", str(site.directory / "log"))
    site.pool_options("transcript = yes", "chap = mutual")
    backend = site.backend("n1")
    data = backend.initialize_connection(backend.get_volume("v1"), I1)["data"]
    log = (site.directory / "log/lefthand.transcript.log").read_text()
    assert "createServer" in log and "getVolumeInfo" in log
    assert data["auth_password"] not in log and data["mutual_auth_password"] not in log
    for name in ("targetSecret", "initiatorSecret"):
        assert f'{name}="***"' in log and f"{name}=***" in log
