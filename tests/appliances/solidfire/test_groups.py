# SPDX-License-Identifier: Apache-2.0
"""Access groups, initiators and sessions as the reference has them: each test names its section."""

from __future__ import annotations

import pytest

from tests.appliances.solidfire.conftest import NODE1, NODE2, Bench
from tests.appliances.solidfire.sessions import LoginRefused, login


def test_an_initiator_in_a_group_reaches_its_volumes_without_chap(bench: Bench) -> None:
    """3.3: access groups and CHAP; initiators are written in small letters."""
    volume, other = bench.volume("a"), bench.volume("b")
    bench.group(NODE1.upper(), volume["volumeID"])
    assert login(bench.cluster, NODE1, volume["iqn"])["initiatorName"] == NODE1
    with pytest.raises(LoginRefused, match="authorization"):
        login(bench.cluster, NODE2, volume["iqn"])
    with pytest.raises(LoginRefused, match="authorization"):
        login(bench.cluster, NODE1, other["iqn"])


def test_an_initiator_may_have_secrets_of_its_own(bench: Bench) -> None:
    """The vendor's page on CreateInitiators: requireChap, chapUsername, initiatorSecret, targetSecret."""
    volume = bench.volume()
    bench.ok("CreateInitiators", initiators=[{"name": NODE1, "requireChap": True}])
    bench.group(NODE1, volume["volumeID"])
    told = bench.ok("ListInitiators", initiators=[1])["initiators"][0]
    assert told["chapUsername"] == NODE1
    assert 12 <= len(told["initiatorSecret"]) <= 16
    assert told["initiatorSecret"] != told["targetSecret"]
    with pytest.raises(LoginRefused, match="authorization"):
        login(bench.cluster, NODE1, volume["iqn"])
    login(bench.cluster, NODE1, volume["iqn"], NODE1, told["initiatorSecret"])
    bench.fails("xInitiatorExists", "CreateInitiators", initiators=[{"name": NODE1}])


def test_an_older_cluster_knows_no_such_secrets(bench: Bench) -> None:
    """Without them an initiator has no member of that name."""
    bench.settings.knows_initiator_chap = False
    made = bench.ok("CreateInitiators", initiators=[{"name": NODE1, "requireChap": True}])["initiators"]
    assert "requireChap" not in made[0]


def test_an_initiator_is_in_one_group_only(bench: Bench) -> None:
    """3.2: volumeAccessGroupsPerInitiatorCountMax; 3.4: the message of xExceededLimit."""
    bench.group(NODE1)
    told = {"name": "second", "initiators": [NODE1]}
    message = bench.fails("xExceededLimit", "CreateVolumeAccessGroup", **told)
    assert message == "Exceeded maximum number of VolumeAccessGroups per Initiator"
    group = bench.group(NODE2)
    adding = {"volumeAccessGroupID": group, "initiators": [NODE1]}
    bench.fails("xExceededLimit", "AddInitiatorsToVolumeAccessGroup", **adding)


def test_a_volume_is_in_several_groups(bench: Bench) -> None:
    """3.2: volumeAccessGroupsPerVolumeCountMax, 4 in older versions."""
    bench.settings.limits["volumeAccessGroupsPerVolumeCountMax"] = 2
    number = bench.volume()["volumeID"]
    groups = [bench.group(NODE1, number), bench.group(NODE2, number)]
    assert (bench.look(number) or {})["volumeAccessGroups"] == groups
    third = bench.group("iqn.third")
    message = bench.fails(
        "xExceededLimit", "AddVolumesToVolumeAccessGroup", volumeAccessGroupID=third, volumes=[number]
    )
    assert message == "Exceeded maximum number of VolumeAccessGroups per Volume"


def test_volumes_are_added_and_removed(bench: Bench) -> None:
    """3.3: the modifiers; 3.4: xNotInVolumeAccessGroup, xAlreadyInVolumeAccessGroup."""
    number = bench.volume()["volumeID"]
    group = bench.group(NODE1)
    told = {"volumeAccessGroupID": group, "volumes": [number]}
    shown = bench.ok("AddVolumesToVolumeAccessGroup", **told)["volumeAccessGroup"]
    assert (shown["volumes"], shown["initiators"], shown["initiatorIDs"]) == ([number], [NODE1], [1])
    bench.ok("AddVolumesToVolumeAccessGroup", **told)
    bench.settings.adding_twice_fails = True
    bench.fails("xAlreadyInVolumeAccessGroup", "AddVolumesToVolumeAccessGroup", **told)
    assert bench.ok("RemoveVolumesFromVolumeAccessGroup", **told)["volumeAccessGroup"]["volumes"] == []
    bench.fails("xNotInVolumeAccessGroup", "RemoveVolumesFromVolumeAccessGroup", **told)


def test_an_unknown_group_is_named(bench: Bench) -> None:
    """3.4: xVolumeAccessGroupIDDoesNotExist; 3.3: volumeAccessGroupsNotFound."""
    message = bench.fails(
        "xVolumeAccessGroupIDDoesNotExist",
        "AddVolumesToVolumeAccessGroup",
        volumeAccessGroupID=7,
        volumes=[],
    )
    assert message == "VolumeAccessGroupID 7 does not exist."
    group = bench.group(NODE1)
    listed = bench.ok("ListVolumeAccessGroups", volumeAccessGroups=[7, group])
    assert listed["volumeAccessGroupsNotFound"] == [7]
    assert [one["volumeAccessGroupID"] for one in listed["volumeAccessGroups"]] == [group]


def test_names_of_groups_are_not_unique(bench: Bench) -> None:
    """3.2: the name of a group has 1 to 64 characters and is not unique."""
    assert bench.group(NODE1) != bench.group(NODE2)
    bench.fails("xInvalidParameter", "CreateVolumeAccessGroup", name="g" * 65)


def test_a_deleted_volume_leaves_its_groups(bench: Bench) -> None:
    """3.2: volumeAccessGroup.deletedVolumes."""
    number = bench.volume()["volumeID"]
    group = bench.group(NODE1, number)
    bench.ok("DeleteVolume", volumeID=number)
    listed = bench.ok("ListVolumeAccessGroups")["volumeAccessGroups"][0]
    assert (listed["volumes"], listed["deletedVolumes"]) == ([], [number])
    bench.ok("RestoreDeletedVolume", volumeID=number)
    assert (bench.look(number) or {})["volumeAccessGroups"] == [group]


@pytest.mark.parametrize("ends", [True, False])
def test_whether_removal_ends_a_session_is_not_known(bench: Bench, ends: bool) -> None:
    """3.3 does not say it, so both can be had; what is sure is that nobody logs in again."""
    bench.settings.removal_ends_sessions = ends
    volume = bench.volume()
    group = bench.group(NODE1, volume["volumeID"])
    login(bench.cluster, NODE1, volume["iqn"])
    told = {"volumeAccessGroupID": group, "volumes": [volume["volumeID"]]}
    bench.ok("RemoveVolumesFromVolumeAccessGroup", **told)
    sessions = bench.ok("ListISCSISessions")["sessions"]
    assert [one["initiatorName"] for one in sessions] == ([] if ends else [NODE1])
    with pytest.raises(LoginRefused):
        login(bench.cluster, NODE1, volume["iqn"])


def test_a_session_tells_who_and_what(bench: Bench) -> None:
    """3.3: ListISCSISessions."""
    volume = bench.volume()
    bench.group(NODE1, volume["volumeID"])
    login(bench.cluster, NODE1, volume["iqn"])
    session = bench.ok("ListISCSISessions")["sessions"][0]
    assert session["initiatorName"] == NODE1
    assert (session["targetName"], session["volumeID"]) == (volume["iqn"], volume["volumeID"])
    assert (session["accountID"], session["accountName"]) == (bench.account, "owner")


def test_orphans_go_with_their_group_if_that_is_asked(bench: Bench) -> None:
    """3.3: deleteOrphanInitiators."""
    group = bench.group(NODE1)
    bench.ok("DeleteVolumeAccessGroup", volumeAccessGroupID=group)
    assert len(bench.ok("ListInitiators")["initiators"]) == 1
    group = bench.group(NODE1)
    bench.ok("DeleteVolumeAccessGroup", volumeAccessGroupID=group, deleteOrphanInitiators=True)
    assert bench.ok("ListInitiators")["initiators"] == []


def test_initiators_of_a_group_are_exchanged(bench: Bench) -> None:
    """3.3: ModifyVolumeAccessGroup, RemoveInitiatorsFromVolumeAccessGroup, DeleteInitiators."""
    group = bench.group(NODE1)
    told = bench.ok("ModifyVolumeAccessGroup", volumeAccessGroupID=group, initiators=[NODE2])
    assert told["volumeAccessGroup"]["initiators"] == [NODE2]
    removing = {"volumeAccessGroupID": group, "initiators": [NODE1]}
    bench.fails("xNotInVolumeAccessGroup", "RemoveInitiatorsFromVolumeAccessGroup", **removing)
    bench.ok("RemoveInitiatorsFromVolumeAccessGroup", volumeAccessGroupID=group, initiators=[NODE2])
    bench.ok("DeleteInitiators", initiators=[1])
    bench.fails("xInitiatorDoesNotExist", "DeleteInitiators", initiators=[1])
