# SPDX-License-Identifier: Apache-2.0
"""Which node reaches which volume, who has it open, and how one is cut off."""

from __future__ import annotations

import threading

import pytest

from extstorage_common import holders
from extstorage_common.backends import solidfire_groups
from extstorage_common.backends.base import EXCLUSIVE, SHARED, Holder, Volume
from extstorage_common.backends.solidfire_groups import (
    InitiatorTaken,
    NoInitiatorSecrets,
    StillConnected,
    WasFenced,
)
from extstorage_common.errors import ExtStorageError, HeldElsewhere
from extstorage_common.targets.iscsi_names import NotAnInitiator
from tests.appliances.solidfire.sessions import LoginRefused, login
from tests.solidfire.conftest import NAME, Array, initiator, properties


def logged_in(array: Array) -> list[tuple[int, str]]:
    """The sessions: volume and initiator."""
    told = array.cluster.result("ListISCSISessions")["sessions"]
    return sorted((one["volumeID"], one["initiatorName"].rpartition(":")[2]) for one in told)


def open_volume(array: Array, volume: Volume, node: str, *offline: str, exclusive: bool = True) -> None:
    """What open does at the storage."""
    holders.open_volume(array.backend(node), volume, exclusive, initiator(node), offline)


def modes(array: Array, volume: Volume) -> list[tuple[str, str]]:
    """Who has it open."""
    return [(one.node, one.mode) for one in array.backend().read_holders(volume).entries]


# --- attaching ------------------------------------------------------------------------------------


def test_a_node_reaches_what_it_attached_and_nothing_else(array: Array) -> None:
    volume, other = array.volume(), array.volume("other")
    data = array.attach(volume, "node1")
    assert data["target_iqn"] == array.volumes()[0]["iqn"]
    assert data["wwn"] == "naa.6f47acc1000000006a79617900000001"
    assert (data["target_portal"], data["target_lun"], data["size"]) == ("127.0.0.1:3260", 0, volume.size)
    assert array.backend().attached_nodes(volume) == ["node1"]
    assert array.backend().attached_nodes(other) == []
    secrets = data["auth_username"], data["auth_password"]
    for node, volume_id, given in (("node1", 1, secrets), ("node2", 0, secrets), ("node1", 0, ("a", "b"))):
        with pytest.raises(LoginRefused):
            login(array.cluster, initiator(node), array.volumes()[volume_id]["iqn"], *given)


def test_attaching_again_is_the_same(array: Array) -> None:
    volume = array.volume()
    assert array.attach(volume, "node1") == array.attach(volume, "node1")
    array.settings.adding_twice_fails = True
    array.attach(volume, "node1")
    assert len(array.cluster.groups) == 2


def test_one_detach_leaves_the_other(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    array.attach(volume, "node2")
    for _ in range(2):
        array.backend("node1").terminate_connection(volume, properties("node1"))
        assert array.backend().attached_nodes(volume) == ["node2"]
        assert logged_in(array) == [(1, "node2")]


def test_another_volumes_access_stays(array: Array) -> None:
    volume, other = array.volume(), array.volume("other")
    array.attach(volume, "node1")
    array.attach(other, "node1")
    array.backend("node1").terminate_connection(volume, properties("node1"))
    assert logged_in(array) == [(2, "node1")]


def test_a_node_is_registered_once(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    array.calls()
    array.attach(array.volume("other"), "node1")
    called = array.calls()
    assert not {"CreateVolumeAccessGroup", "AddAccount", "CreateInitiators", "ListVolumeAccessGroups"} & set(
        called
    )


@pytest.mark.parametrize("lost", ["group", "initiator", "account"])
def test_a_registration_that_was_lost_is_made_again(array: Array, lost: str) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    if lost == "group":
        array.cluster.result("DeleteVolumeAccessGroup", volumeAccessGroupID=1)
    elif lost == "initiator":
        array.cluster.result("DeleteInitiators", initiators=[1])
    else:
        account = array.cluster.result("GetAccountByName", username="ganeti-node-node1")["account"]
        array.cluster.result("RemoveAccount", accountID=account["accountID"])
    array.attach(volume, "node1")
    assert (1, "node1") in logged_in(array)
    assert array.backend().attached_nodes(volume) == ["node1"]
    assert len(array.cluster.groups) == 2


def test_an_initiator_with_a_new_name_takes_the_place_of_the_old(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    backend = array.backend("node1")
    data = backend.initialize_connection(volume, {"initiator": initiator("node1.new"), "boot": "b2"})["data"]
    login(
        array.cluster,
        initiator("node1.new"),
        data["target_iqn"],
        data["auth_username"],
        data["auth_password"],
    )
    assert logged_in(array) == [(1, "node1.new")]


def test_two_nodes_must_not_have_one_name(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    with pytest.raises(InitiatorTaken, match=r"access group ganeti-attached-node1 \(1\) already"):
        array.backend("node2").initialize_connection(volume, properties("node1"))
    with pytest.raises(NotAnInitiator):
        array.backend("node2").initialize_connection(volume, {"initiator": "a'; b", "boot": ""})
    assert logged_in(array) == [(1, "node1")]


def test_secrets_that_the_cluster_can_not_ask_are_no_secrets(array: Array) -> None:
    array.settings.knows_initiator_chap = False
    volume = array.volume()
    with pytest.raises(NoInitiatorSecrets, match="chap = none"):
        array.backend().initialize_connection(volume, properties("node1"))
    data = array.backend(chap="none").initialize_connection(volume, properties("node1"))["data"]
    assert data["auth_method"] == "None"
    assert not [key for key in data if "password" in key]
    login(array.cluster, initiator("node1"), data["target_iqn"])


def test_mutual_secrets_differ(array: Array) -> None:
    data = array.backend(chap="mutual").initialize_connection(array.volume(), properties("node1"))["data"]
    assert 12 <= len(data["mutual_auth_password"]) <= 16
    assert data["mutual_auth_password"] != data["auth_password"]


def test_portals_of_the_configuration_are_used_instead(array: Array) -> None:
    backend = array.backend(portals="192.0.2.1, 192.0.2.2:3261")
    data = backend.initialize_connection(array.volume(), properties("node1"))["data"]
    assert data["target_portals"] == ["192.0.2.1:3260", "192.0.2.2:3261"]
    assert len(data["target_iqns"]) == len(data["target_luns"]) == 2


def test_a_node_that_leaves_is_forgotten(array: Array) -> None:
    array.attach(array.volume(), "node1")
    array.attach(array.backend().get_volume(NAME), "node2")
    told = array.backend().forget_node("node1", dry_run=True)
    assert told == [
        "access group ganeti-attached-node1 (1)",
        "access group ganeti-fenced-node1 (2)",
        "account ganeti-node-node1",
    ]
    assert len(array.cluster.groups) == 4
    assert array.backend().forget_node("node1", dry_run=False) == told
    assert array.backend().forget_node("node1", dry_run=False) == []
    assert logged_in(array) == [(1, "node2")]
    assert [one["initiatorName"] for one in array.cluster.initiators.values()] == [initiator("node2")]


# --- holders --------------------------------------------------------------------------------------


def test_holders_are_compared_and_set(array: Array) -> None:
    volume = array.volume()
    backend = array.backend()
    old = backend.read_holders(volume)
    assert old.entries == ()
    assert backend.replace_holders(volume, old, [Holder("node1", EXCLUSIVE)])
    assert not backend.replace_holders(volume, old, [Holder("node2", EXCLUSIVE)])
    assert not array.backend("node2").replace_holders(volume, old, [Holder("node2", EXCLUSIVE)])
    assert modes(array, volume) == [("node1", EXCLUSIVE)]


def test_holders_and_metadata_are_changed_each_for_itself(array: Array) -> None:
    volume = array.volume()
    open_volume(array, volume, "node1")
    array.backend("node2").set_metadata(volume, "text")
    assert modes(array, volume) == [("node1", EXCLUSIVE)]
    holders.close_volume(array.backend("node1"), volume)
    assert array.backend().describe(volume)["metadata"] == "text"
    assert modes(array, volume) == []


def test_one_account_a_volume_is_enough(array: Array) -> None:
    volume = array.volume()
    for _ in range(5):
        open_volume(array, volume, "node1")
        holders.close_volume(array.backend("node1"), volume)
    assert array.usernames() == ["ganeti", "ganeti-volume-1-10"]


def test_many_at_once_lose_nothing(array: Array) -> None:
    volume = array.volume()

    def work(number: int) -> None:
        node = f"node{number}"
        for _ in range(4):
            holders.open_volume(array.backend(node), volume, False, "-", ())
            holders.close_volume(array.backend(node), volume)
        holders.open_volume(array.backend(node), volume, False, "-", ())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(modes(array, volume)) == [(f"node{number}", SHARED) for number in range(4)]


def test_a_hint_that_comes_late_does_no_harm(array: Array) -> None:
    """Whatever was overwritten, what counts is found, or nothing is taken for what counts."""
    volume = array.volume()
    attributes = []
    for node in ("node1", "node2", "node3", "node4"):
        holders.open_volume(array.backend(node), volume, False, "-", ())
        attributes.append(array.volumes()[0]["attributes"])
    expected = modes(array, volume)
    for late in attributes:
        array.cluster.result("ModifyVolume", volumeID=1, attributes=late)
        assert modes(array, volume) == expected
    array.cluster.result("ModifyVolume", volumeID=1, attributes=attributes[0])
    holders.close_volume(array.backend("node1"), volume)
    assert modes(array, volume) == expected[1:]


@pytest.mark.parametrize("fails", ["RemoveAccount", "ModifyVolume"])
def test_a_change_that_was_cut_off_counts(array: Array, fails: str) -> None:
    volume = array.volume()
    open_volume(array, volume, "node1", exclusive=False)
    array.fault("error", fails, {"name": "xInternalError"})
    with pytest.raises(Exception, match="xInternalError"):
        open_volume(array, volume, "node2", exclusive=False)
    assert sorted(modes(array, volume)) == [("node1", SHARED), ("node2", SHARED)]
    open_volume(array, volume, "node3", exclusive=False)
    assert len(modes(array, volume)) == 3
    assert len(array.usernames()) == 2


def test_a_node_that_slept_has_lost_also_if_its_number_is_free_again(array: Array) -> None:
    """Two more states came and the first of them was removed while node2 was about to make that."""
    volume = array.volume()
    for _ in range(2):
        backend = array.backend("node2")
        seen_by_node2 = backend.read_holders(volume)
        for node in ("node1", "node3"):
            other = array.backend(node)
            assert other.replace_holders(volume, other.read_holders(volume), [Holder(node, EXCLUSIVE)])
        assert not backend.replace_holders(volume, seen_by_node2, [Holder("node2", EXCLUSIVE)])
        assert modes(array, volume) == [("node3", EXCLUSIVE)]
        assert len(array.usernames()) == 2


def test_changes_that_were_all_cut_off_before_the_first_hint(array: Array) -> None:
    """What the first of them did is not forgotten."""
    volume = array.volume()
    array.fault("error", "ModifyVolume", {"name": "xInternalError"}, times=0)
    for number in range(1, 4):
        with pytest.raises(Exception, match="xInternalError"):
            open_volume(array, volume, f"node{number}", exclusive=False)
        assert ("node1", SHARED) in modes(array, volume)
    array.front.faults.clear()
    array.backend().delete_volume(volume)
    assert array.usernames() == ["ganeti"]


@pytest.mark.parametrize("opened_before", [False, True])
def test_a_change_of_a_volume_that_is_deleted_meanwhile_leaves_nothing(
    array: Array, opened_before: bool
) -> None:
    volume = array.volume()
    if opened_before:
        open_volume(array, volume, "node1")
    backend = array.backend("node2")
    seen = backend.read_holders(volume)
    array.backend().delete_volume(volume)
    with pytest.raises(ExtStorageError):
        backend.replace_holders(volume, seen, [Holder("node2", EXCLUSIVE)])
    assert array.usernames() == ["ganeti"]


# --- fencing --------------------------------------------------------------------------------------


def test_a_living_holder_stays(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    open_volume(array, volume, "node1")
    with pytest.raises(HeldElsewhere, match="node node1 has the volume open"):
        open_volume(array, volume, "node2")
    assert logged_in(array) == [(1, "node1")]


def test_a_holder_without_a_session_is_dead(array: Array) -> None:
    volume = array.volume()
    array.backend("node1").initialize_connection(volume, properties("node1"))
    open_volume(array, volume, "node1")
    open_volume(array, volume, "node2")
    assert modes(array, volume) == [("node2", EXCLUSIVE)]
    assert array.backend().attached_nodes(volume) == []


def test_fencing_takes_one_volume_from_one_node(array: Array) -> None:
    volume, other = array.volume(), array.volume("other")
    for node in ("node1", "node2"):
        array.attach(volume, node)
        array.attach(other, node)
    open_volume(array, volume, "node1")
    open_volume(array, volume, "node2", "node1")
    assert logged_in(array) == [(1, "node2"), (2, "node1"), (2, "node2")]


def test_a_fenced_node_must_detach_before_it_gets_the_volume_again(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    open_volume(array, volume, "node1")
    open_volume(array, volume, "node2", "node1")
    with pytest.raises(WasFenced, match="detach it here first"):
        array.attach(volume, "node1")
    array.backend("node1").terminate_connection(volume, properties("node1"))
    array.attach(volume, "node1")
    assert logged_in(array) == [(1, "node1")]


def test_a_fenced_node_that_was_started_anew_has_no_session_left(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    open_volume(array, volume, "node1")
    open_volume(array, volume, "node2", "node1")
    array.attach(volume, "node1", boot="b2")
    assert logged_in(array) == [(1, "node1")]


def test_what_is_not_certain_is_not_taken(array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known whether a real cluster ends the sessions; if not, the volume is not handed on."""
    array.settings.removal_ends_sessions = False
    monkeypatch.setattr(solidfire_groups, "SESSION_SECONDS", 0.2)
    volume = array.volume()
    array.attach(volume, "node1")
    open_volume(array, volume, "node1")
    with pytest.raises(StillConnected, match=initiator("node1")):
        open_volume(array, volume, "node2", "node1")
    assert modes(array, volume) == [("node1", EXCLUSIVE)]
    array.cluster.sessions.clear()
    open_volume(array, volume, "node2", "node1")
    assert modes(array, volume) == [("node2", EXCLUSIVE)]


def test_revoking_needs_no_help_of_the_node(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    array.attach(volume, "node2")
    array.backend("node2").revoke_connection(volume, "node1")
    assert logged_in(array) == [(1, "node2")]
    array.backend("node2").revoke_connection(volume, "nobody")


def test_deleting_takes_the_volume_from_all(array: Array) -> None:
    volume = array.volume()
    array.attach(volume, "node1")
    array.backend().delete_volume(volume)
    assert logged_in(array) == []
    assert array.cluster.groups[1]["volumes"] == []
