# SPDX-License-Identifier: Apache-2.0
"""Volumes at the cluster: made, found, grown, copied, deleted; and what the old driver did wrong."""

from __future__ import annotations

import pytest

from extstorage_common.backends.solidfire_volumes import (
    BadService,
    CopyFailed,
    DuplicateVolumes,
    TooLarge,
    TooSmall,
    Unpurged,
    cluster_name,
)
from extstorage_common.errors import (
    BeingMade,
    NoSpace,
    PoolUnreachable,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
)
from extstorage_common.transports.element import ElementError
from tests.solidfire.conftest import NAME, SIZE, Array


def quiet() -> None:
    """Nothing writes."""


def test_a_volume_is_made_and_found(array: Array) -> None:
    volume = array.volume()
    assert (volume.name, volume.size) == (NAME, SIZE << 20)
    assert array.backend().get_volume(NAME).size == SIZE << 20
    told = array.volumes()[0]
    assert told["name"] == NAME.replace(".", "-")
    assert told["enable512e"] is True
    assert told["attributes"]["ganeti"]["volume"] == NAME
    assert array.backend().list_volumes() == [NAME]


def test_making_it_again_is_an_error_and_touches_nothing(array: Array) -> None:
    array.volume()
    before = array.volumes()
    with pytest.raises(VolumeExists):
        array.volume()
    assert array.volumes() == before


def test_not_found_needs_the_account(array: Array) -> None:
    with pytest.raises(VolumeNotFound):
        array.backend().get_volume(NAME)
    with pytest.raises(PoolUnreachable, match="gnt-storage pool init solidfire gold"):
        array.backend(account="other").get_volume(NAME)


def test_less_than_a_gigabyte_is_refused_with_a_sentence(array: Array) -> None:
    with pytest.raises(TooSmall, match="953 MiB were asked for, but the cluster makes no volume of less"):
        array.backend().create_volume(NAME, 953)
    assert array.volumes() == []
    assert array.backend().create_volume(NAME, 954).size_mib == 954


def test_more_than_the_cluster_can_make_is_refused_with_a_sentence(array: Array) -> None:
    with pytest.raises(TooLarge, match="no volume of more than 16777216 MiB"):
        array.backend().create_volume(NAME, 16777217)
    with pytest.raises(TooLarge):
        array.backend().extend_volume(array.volume(), 16777217)


@pytest.mark.parametrize("size", [954, 1023, 1024, 1025, 4097])
def test_sizes_in_mib_are_exact(array: Array, size: int) -> None:
    assert array.backend().create_volume(NAME, size).size_mib == size
    assert array.backend().extend_volume(array.backend().get_volume(NAME), size + 1).size_mib == size + 1
    assert array.backend().get_volume(NAME).size_mib == size + 1


def test_names_that_look_alike_are_kept_apart(array: Array) -> None:
    for name in ("a.b", "a-b", "a_b"):
        assert cluster_name(name) == "a-b"
        array.volume(name)
    assert array.backend().list_volumes() == ["a-b", "a.b", "a_b"]
    array.backend().delete_volume(array.backend().get_volume("a.b"))
    assert array.backend().list_volumes() == ["a-b", "a_b"]


@pytest.mark.parametrize("name", ["a" * 128, "a..b", "a-", "A.b", "0"])
def test_every_name_can_be_a_volume(array: Array, name: str) -> None:
    array.volume(name)
    assert array.backend().get_volume(name).name == name
    assert array.backend().list_volumes() == [name]


def test_anothers_volume_of_this_name_is_nobodys_business(array: Array) -> None:
    """0.4: the old driver matched by name alone."""
    account = array.cluster.result("AddAccount", username="somebody")["accountID"]
    told = {"accountID": account, "totalSize": 10**9, "enable512e": True}
    array.cluster.result("CreateVolume", name=cluster_name(NAME), **told)
    marked = {"ganeti": {"volume": NAME}}
    array.cluster.result("CreateVolume", name=cluster_name(NAME), attributes=marked, **told)
    with pytest.raises(VolumeNotFound):
        array.backend().get_volume(NAME)
    array.backend().delete_volume(array.volume())
    assert len(array.volumes()) == 2


def test_two_that_say_the_same_are_nobodys_to_choose_from(array: Array) -> None:
    volume = array.volume()
    told = array.volumes()[0]
    marked = {"ganeti": {**told["attributes"]["ganeti"], "token": "other"}}
    more = {"accountID": told["accountID"], "totalSize": 10**9, "enable512e": True}
    array.cluster.result("CreateVolume", name=told["name"], attributes=marked, **more)
    with pytest.raises(DuplicateVolumes, match="volumes 1, 2 all say that they are this one"):
        array.backend().get_volume(NAME)
    with pytest.raises(DuplicateVolumes):
        array.volume()
    array.cluster.result("DeleteVolume", volumeID=2)
    assert array.backend().get_volume(NAME).size == volume.size


def test_a_pool_has_volumes_of_its_own_account_only(array: Array) -> None:
    array.volume()
    array.backend(account="other").initialize_pool()
    with pytest.raises(VolumeNotFound):
        array.backend(account="other").get_volume(NAME)
    assert array.backend(account="other").list_volumes() == []
    assert array.backend().pool_uuid() != array.backend(account="other").pool_uuid()


def test_a_cluster_that_does_not_know_the_question_lists_all(array: Array) -> None:
    array.settings.knows_volume_name = False
    array.volume("other")
    array.volume()
    assert array.backend().get_volume(NAME).name == NAME


# --- quality of service ---------------------------------------------------------------------------


def test_quality_of_service(array: Array) -> None:
    array.backend(min_iops="100", max_iops="200", burst_iops="300").create_volume(NAME, SIZE)
    quality = array.volumes()[0]["qos"]
    assert (quality["minIOPS"], quality["maxIOPS"], quality["burstIOPS"]) == (100, 200, 300)
    assert array.backend().describe(array.backend().get_volume(NAME))["iops"] == "100 200 300"


@pytest.mark.parametrize(
    ("said", "got"),
    [
        ({}, (50, 15000, 15000)),
        ({"min_iops": "200"}, (200, 15000, 15000)),
        ({"max_iops": "100"}, (50, 100, 15000)),
        ({"max_iops": "20000"}, (50, 20000, 20000)),
        ({"burst_iops": "500"}, (50, 500, 500)),
        ({"min_iops": "15000", "burst_iops": "16000"}, (15000, 15000, 16000)),
    ],
)
def test_what_is_not_said_of_it_fits(array: Array, said: dict[str, str], got: tuple[int, int, int]) -> None:
    array.backend(**said).create_volume(NAME, SIZE)
    quality = array.volumes()[0]["qos"]
    assert (quality["minIOPS"], quality["maxIOPS"], quality["burstIOPS"]) == got


def test_an_order_that_can_not_be_is_refused(array: Array) -> None:
    with pytest.raises(BadService, match="min_iops 300, max_iops 200"):
        array.backend(min_iops="300", max_iops="200").create_volume(NAME, SIZE)
    assert array.volumes() == []


# --- deleted, and not purged ----------------------------------------------------------------------


def test_a_deleted_volume_is_gone_at_once(array: Array) -> None:
    array.backend().delete_volume(array.volume())
    assert array.volumes() == []
    with pytest.raises(VolumeNotFound):
        array.backend().get_volume(NAME)


def test_a_deletion_that_was_cut_off_is_finished(array: Array) -> None:
    """0.4: with a deleted volume of the same name about, the old driver could not delete any more."""
    array.volume()
    array.cluster.result("DeleteVolume", volumeID=1)
    with pytest.raises(Unpurged, match="waits to be purged until"):
        array.backend().get_volume(NAME)
    array.backend().discard_incomplete(NAME)
    assert array.volumes() == []


def test_a_name_is_free_again_though_its_last_volume_waits_to_be_purged(array: Array) -> None:
    array.volume()
    array.cluster.result("DeleteVolume", volumeID=1)
    array.volume()
    assert [one["volumeID"] for one in array.volumes()] == [2]


def test_deleted_volumes_may_be_left_to_the_cluster(array: Array) -> None:
    array.volume()
    careful = array.backend(purge="no")
    careful.delete_volume(careful.get_volume(NAME))
    assert [one["status"] for one in array.volumes()] == ["deleted"]
    with pytest.raises(VolumeNotFound):
        careful.get_volume(NAME)
    array.backend(purge="no").create_volume(NAME, SIZE)
    assert array.backend(purge="no").get_volume(NAME).size_mib == SIZE
    assert array.backend(purge="no").purge_pool() == [NAME]
    assert [one["status"] for one in array.volumes()] == ["active"]


def test_a_restored_volume_is_a_volume_that_nobody_has_open(array: Array) -> None:
    volume = array.volume()
    array.backend().set_metadata(volume, "text")
    backend = array.backend(purge="no")
    backend.delete_volume(backend.get_volume(NAME))
    array.cluster.result("RestoreDeletedVolume", volumeID=1)
    found = array.backend().get_volume(NAME)
    assert array.backend().read_holders(found).entries == ()
    array.backend().set_metadata(found, "new")
    assert array.backend().describe(found)["metadata"] == "new"


def test_deleting_leaves_nothing_of_the_volume(array: Array) -> None:
    volume = array.volume()
    array.backend().set_metadata(volume, "text")
    assert array.usernames() == ["ganeti", "ganeti-volume-1-1"]
    array.backend().delete_volume(array.backend().get_volume(NAME))
    assert array.usernames() == ["ganeti"]


# --- full -----------------------------------------------------------------------------------------


def test_a_full_cluster_has_no_space(array: Array) -> None:
    array.settings.capacity = 3 << 30
    volume = array.volume()
    with pytest.raises(NoSpace, match="4096 MiB are needed, 2048 MiB are free"):
        array.backend().create_volume("second", 4096)
    with pytest.raises(NoSpace, match="9216 MiB are needed"):
        array.backend().extend_volume(volume, 10240)
    assert array.backend().get_volume(NAME).size == volume.size
    assert array.backend().capacity() == (3 << 30, 2 << 30)


def test_another_limit_is_not_called_full(array: Array) -> None:
    array.settings.limits["volumesPerAccountCountMax"] = 1
    array.volume()
    with pytest.raises(ElementError, match="Exceeded maximum number of volumes per account"):
        array.volume("second")


# --- copies ---------------------------------------------------------------------------------------


def test_a_snapshot_is_a_volume_of_its_own(array: Array) -> None:
    volume = array.volume()
    array.backend().set_metadata(volume, "text")
    disks = array.cluster.disks
    with disks.path(1).open("r+b") as file:
        file.write(b"older")
    snapshot = array.backend().create_snapshot(volume, NAME + ".snap", quiet)
    assert snapshot.size == volume.size
    with disks.path(1).open("r+b") as file:
        file.write(b"newer")
    with disks.path(2).open("rb") as file:
        assert file.read(5) == b"older"
    assert array.backend().origin(array.backend().get_volume(NAME + ".snap")) == NAME
    assert array.backend().origin(volume) == ""
    assert array.backend().describe(snapshot)["metadata"] == ""
    array.backend().delete_volume(volume)
    assert array.backend().list_volumes() == [NAME + ".snap"]


def test_a_copy_takes_time(array: Array) -> None:
    array.settings.clone_seconds = 0.3
    snapshot = array.backend().create_snapshot(array.volume(), "copy", quiet)
    assert array.backend().get_volume("copy").size == snapshot.size


def test_a_copy_that_is_going_on_is_being_made(array: Array) -> None:
    array.settings.clone_seconds = 3600
    volume = array.volume()
    with pytest.raises(Exception, match="no answer within"):
        array.backend(timeout="5").create_snapshot(volume, "copy", quiet)
    with pytest.raises(VolumeIncomplete, match="its creation by the cluster itself"):
        array.backend().get_volume("copy")
    with pytest.raises(BeingMade):
        array.backend().create_snapshot(volume, "copy", quiet)
    array.backend().discard_incomplete("copy")
    assert [one["volumeID"] for one in array.volumes()] == [1]


def test_a_copy_that_fails_leaves_nothing(array: Array) -> None:
    volume = array.volume()
    array.fault("job", "CloneVolume", {"name": "xSliceNotRegistered", "message": "no slice"})
    with pytest.raises(CopyFailed, match="no slice"):
        array.backend().create_snapshot(volume, "copy", quiet)
    assert [one["volumeID"] for one in array.volumes()] == [1]


def test_metadata_must_fit(array: Array) -> None:
    volume = array.volume()
    array.backend().set_metadata(volume, "originstname+instance1")
    array.backend().set_metadata(volume, "originstname+instance1")
    assert array.backend().describe(volume)["metadata"] == "originstname+instance1"
    with pytest.raises(Exception, match="bytes, and the cluster keeps no more than 999"):
        array.backend().set_metadata(volume, "x" * 1000)
    assert array.backend().describe(volume)["metadata"] == "originstname+instance1"
