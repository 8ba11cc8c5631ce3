# SPDX-License-Identifier: Apache-2.0
"""Volumes as the reference has them: each test names its section."""

from __future__ import annotations

import pytest

from tests.appliances.solidfire import Settings, volumes
from tests.appliances.solidfire.cluster import Cluster
from tests.appliances.solidfire.conftest import GB, NODE1, Bench
from tests.appliances.solidfire.sessions import LoginRefused, login


def test_a_volume_has_these_members(bench: Bench) -> None:
    """3.2: volume."""
    volume = bench.volume()
    assert volume["status"] == "active"
    assert (volume["deleteTime"], volume["purgeTime"]) == ("", "")
    assert (volume["access"], volume["blockSize"], volume["sliceCount"]) == ("readWrite", 4096, 1)
    assert volume["volumeAccessGroups"] == []
    assert volume["qos"]["curve"]["4096"] == 100


def test_identities_are_made_of_the_clusters_and_the_volumes_numbers() -> None:
    """3.2: the identities, with the published volume 250 and the published code of jyay."""
    told = volumes.identities(Cluster(Settings(unique_id="bvn0")), 250, "Test-Volume")
    assert told["iqn"] == "iqn.2010-01.com.solidfire:bvn0.test-volume.250"
    assert told["scsiNAADeviceID"] == "6f47acc10000000062766e30000000fa"
    assert told["scsiEUIDeviceID"] == "62766e30000000faf47acc0100000000"
    assert volumes.identities(Cluster(), 1, "v")["scsiNAADeviceID"] == "6f47acc1000000006a79617900000001"


@pytest.mark.parametrize(
    ("asked", "got"), [(10**9, 1000341504), (5 * 10**9, 5000658944), (10**12, 1000000716800)]
)
def test_sizes_are_rounded_up_to_whole_mib(bench: Bench, asked: int, got: int) -> None:
    """3.2: sizes, the published samples."""
    assert bench.volume(size=asked)["totalSize"] == got


def test_the_smallest_volume_has_a_decimal_gigabyte(bench: Bench) -> None:
    """3.2: 1 GiB and 954 MiB pass, 512 MiB fails; 3.4: bad sizes."""
    bench.volume(size=1 << 30)
    bench.volume(size=954 << 20)
    told = {"name": "v", "accountID": bench.account, "enable512e": True}
    bench.fails("xInvalidAPIParameter", "CreateVolume", totalSize=512 << 20, **told)
    bench.fails("xExceededLimit", "CreateVolume", totalSize=17592186044417, **told)


@pytest.mark.parametrize("name", ["a_b", "a.b", "", "a" * 65, "a b", "a/b", "a;b", "a'b", "a\nb"])
def test_names_have_1_to_64_letters_digits_and_dashes(bench: Bench, name: str) -> None:
    """3.2: names, with the published message."""
    told = {"accountID": bench.account, "totalSize": GB, "enable512e": True}
    message = bench.fails("xInvalidAPIParameter", "CreateVolume", name=name, **told)
    assert message == (
        f"{name} is not a valid name. The name must only contain digits, alphabetic characters or a -"
    )


def test_names_are_not_unique(bench: Bench) -> None:
    """3.2: two active volumes with one name are legal."""
    first, second = bench.volume("same"), bench.volume("same")
    assert first["volumeID"] != second["volumeID"]
    found = bench.ok("ListVolumes", volumeName="same")["volumes"]
    assert [one["volumeID"] for one in found] == [first["volumeID"], second["volumeID"]]
    assert bench.ok("ListVolumes", volumeName="sam")["volumes"] == []


def test_a_missing_member_is_named(bench: Bench) -> None:
    """3.4: xMissingParameter."""
    message = bench.fails("xMissingParameter", "CreateVolume", accountID=1, totalSize=GB, enable512e=True)
    assert message == "Missing member=[name]"


def test_an_unknown_volume_is_named(bench: Bench) -> None:
    """3.4: xVolumeIDDoesNotExist."""
    message = bench.fails("xVolumeIDDoesNotExist", "ModifyVolume", volumeID=5)
    assert message == "VolumeID 5 does not exist."


def test_a_volume_only_grows(bench: Bench) -> None:
    """3.3: ModifyVolume; 3.4: xVolumeShrinkProhibited."""
    number = bench.volume(size=2 * GB)["volumeID"]
    message = bench.fails("xVolumeShrinkProhibited", "ModifyVolume", volumeID=number, totalSize=GB)
    assert message == "Lowering a volume size is not allowed."
    bench.ok("ModifyVolume", volumeID=number, totalSize=2 * GB)
    assert bench.ok("ModifyVolume", volumeID=number, totalSize=3 * GB)["volume"]["totalSize"] >= 3 * GB
    assert bench.cluster.disks.path(number).stat().st_size >= 3 * GB


def test_attributes_are_replaced_as_a_whole_and_have_under_1000_bytes(bench: Bench) -> None:
    """3.2: attributes; 3.3: ModifyVolume."""
    number = bench.volume(attributes={"a": 1, "b": 2})["volumeID"]
    bench.ok("ModifyVolume", volumeID=number, attributes={"c": 3})
    assert (bench.look(number) or {})["attributes"] == {"c": 3}
    bench.fails("xInvalidParameter", "ModifyVolume", volumeID=number, attributes={"a": "x" * 1000})


def test_quality_of_service_has_bounds_and_an_order(bench: Bench) -> None:
    """3.2: QoS."""
    assert bench.volume()["qos"]["minIOPS"] == 50
    told = {"minIOPS": 100, "maxIOPS": 200, "burstIOPS": 200}
    number = bench.volume(qos=told)["volumeID"]
    bad: list[dict[str, int]] = [{"minIOPS": 49}, {"maxIOPS": 99}, {"burstIOPS": 200001}, {"minIOPS": 300}]
    for qos in bad:
        bench.fails("xInvalidAPIParameter", "ModifyVolume", volumeID=number, qos=qos)


def test_unknown_parameters_do_not_fail_but_are_reported(bench: Bench) -> None:
    """3.1: unusedParameters."""
    response = bench.cluster.call("GetClusterInfo", {"colour": "red"})
    assert response["unusedParameters"] == ["colour"]


def test_a_version_that_knows_no_volume_name_lists_everything(bench: Bench) -> None:
    """3.1, 3.3: what a parameter that is not known does to ListVolumes."""
    bench.settings.knows_volume_name = False
    bench.volume("one")
    bench.volume("two")
    response = bench.cluster.call("ListVolumes", {"volumeName": "one"})
    assert response["unusedParameters"] == ["volumeName"]
    assert len(response["result"]["volumes"]) == 2


def test_lists_have_traps(bench: Bench) -> None:
    """3.3: the traps of ListVolumes."""
    first, second = bench.volume("a")["volumeID"], bench.volume("b")["volumeID"]
    bench.ok("DeleteVolume", volumeID=first)
    assert [one["status"] for one in bench.ok("ListVolumes")["volumes"]] == ["deleted", "active"]
    bench.ok("PurgeDeletedVolume", volumeID=first)
    next_one = bench.ok("ListVolumes", startVolumeID=first, limit=1)["volumes"]
    assert [one["volumeID"] for one in next_one] == [second]
    bench.fails("xInvalidParameter", "ListVolumes", volumeIDs=[second], limit=1)
    bench.fails("xUnrecognizedEnumString", "ListVolumes", volumeStatus="gone")


def test_a_deleted_volume_stays_for_8_hours(bench: Bench) -> None:
    """3.3: DeleteVolume, PurgeDeletedVolume, RestoreDeletedVolume; 0.4: the old driver stumbled over it."""
    number = bench.volume()["volumeID"]
    deleted = bench.ok("DeleteVolume", volumeID=number)["volume"]
    assert (deleted["status"], deleted["deleteTime"]) == ("deleted", "2027-01-15T08:00:00Z")
    assert deleted["purgeTime"] == "2027-01-15T16:00:00Z"
    assert [one["volumeID"] for one in bench.ok("ListDeletedVolumes")["volumes"]] == [number]
    listed = bench.ok("ListVolumesForAccount", accountID=bench.account)["volumes"]
    assert [one["volumeID"] for one in listed] == [number]
    assert bench.ok("ListActiveVolumes")["volumes"] == []
    bench.fails("xVolumeIDDoesNotExist", "DeleteVolume", volumeID=number)
    bench.ok("RestoreDeletedVolume", volumeID=number)
    bench.fails("xVolumeIDDoesNotExist", "PurgeDeletedVolume", volumeID=number)
    bench.ok("DeleteVolume", volumeID=number)
    bench.time += 8 * 3600
    assert bench.look(number) is None
    assert not bench.cluster.disks.path(number).exists()


def test_a_deleted_volume_takes_its_space_until_it_is_purged(bench: Bench) -> None:
    """3.3: GetClusterCapacity; 3.4: one name for every limit."""
    bench.settings.capacity = 2 * GB
    number = bench.volume(size=GB)["volumeID"]
    told = {"name": "v", "accountID": bench.account, "totalSize": GB, "enable512e": True}
    bench.ok("DeleteVolume", volumeID=number)
    assert bench.ok("GetClusterCapacity")["clusterCapacity"]["provisionedSpace"] >= GB
    bench.fails("xExceededLimit", "CreateVolume", **told)
    bench.ok("PurgeDeletedVolume", volumeID=number)
    bench.ok("CreateVolume", **told)


def test_deleting_ends_the_sessions(bench: Bench) -> None:
    """3.3: DeleteVolume kills sessions at once."""
    volume = bench.volume()
    bench.group(NODE1, volume["volumeID"])
    login(bench.cluster, NODE1, volume["iqn"])
    bench.ok("DeleteVolume", volumeID=volume["volumeID"])
    assert bench.ok("ListISCSISessions")["sessions"] == []
    with pytest.raises(LoginRefused, match="target not found"):
        login(bench.cluster, NODE1, volume["iqn"])


def test_a_locked_volume_serves_nobody(bench: Bench) -> None:
    """3.2: access."""
    volume = bench.volume()
    bench.group(NODE1, volume["volumeID"])
    bench.ok("ModifyVolume", volumeID=volume["volumeID"], access="locked")
    with pytest.raises(LoginRefused):
        login(bench.cluster, NODE1, volume["iqn"])
    bench.fails("xUnrecognizedEnumString", "ModifyVolume", volumeID=volume["volumeID"], access="open")


def test_the_statistics_of_a_volume(bench: Bench) -> None:
    """3.3: GetVolumeStats."""
    volume = bench.volume()
    group = bench.group(NODE1, volume["volumeID"])
    stats = bench.ok("GetVolumeStats", volumeID=volume["volumeID"])["volumeStats"]
    assert (stats["volumeSize"], stats["volumeAccessGroups"]) == (volume["totalSize"], [group])


def test_the_cluster_tells_of_itself(bench: Bench) -> None:
    """3.2: clusterInfo, limits; 3.3: GetDefaultQoS, GetAPI."""
    told = bench.ok("GetClusterInfo")["clusterInfo"]
    assert (told["uniqueID"], told["svip"]) == ("jyay", "127.0.0.1")
    assert bench.ok("GetLimits")["volumeSizeMin"] == GB
    assert bench.ok("GetDefaultQoS")["burstIOPS"] == 15000
    assert "CreateVolume" in bench.ok("GetAPI")["12.5"]
    assert bench.ok("GetClusterVersionInfo")["clusterAPIVersion"] == "12.5"
