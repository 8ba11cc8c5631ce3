# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between a node and the cluster."""

from __future__ import annotations

import pytest

from extstorage_common import holders
from extstorage_common.errors import ConfigurationError, ExtStorageError, PoolUnreachable, TimedOut
from extstorage_common.secret_files import BadSecret
from extstorage_common.transports import element
from extstorage_common.transports.element import ElementError, LoginRefused, NotTrusted
from tests.appliances.solidfire import certificates
from tests.solidfire.conftest import NAME, SIZE, Array, properties


def life(array: Array) -> None:
    """All that is done to a volume."""
    volume = array.backend().create_volume(NAME, SIZE)
    array.backend().set_metadata(volume, "text")
    array.attach(volume, "node1")
    holders.open_volume(array.backend(), volume, True, "-", ())
    array.backend().extend_volume(volume, SIZE + 1)
    array.backend().create_snapshot(volume, NAME + ".snap", lambda: None)
    holders.close_volume(array.backend(), volume)
    array.backend().terminate_connection(volume, properties("node1"))
    for name in (NAME, NAME + ".snap"):
        array.backend().delete_volume(array.backend().get_volume(name))


METHODS = (
    *("ListVolumes", "CreateVolume", "CloneVolume", "ModifyVolume", "DeleteVolume", "PurgeDeletedVolume"),
    *("GetAccountByName", "AddAccount", "ModifyAccount", "RemoveAccount", "CreateInitiators"),
    *("CreateVolumeAccessGroup", "ModifyVolumeAccessGroup", "ListVolumeAccessGroups", "GetClusterInfo"),
    *("AddVolumesToVolumeAccessGroup", "RemoveVolumesFromVolumeAccessGroup", "GetAsyncResult"),
)


def test_these_are_all_the_methods_of_a_life(array: Array) -> None:
    life(array)
    assert set(array.calls()) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["drop", "cut"])
def test_a_connection_is_cut(array: Array, method: str, kind: str) -> None:
    """The first call and the third; what was done is not done twice, what was not is done."""
    array.fault(kind, method)
    array.fault(kind, method, skip=1)
    life(array)
    assert array.volumes() == []
    assert array.usernames() == ["ganeti", "ganeti-node-node1"]
    assert len(array.cluster.groups) == 2


def test_what_was_made_before_its_answer_got_lost_is_not_made_again(array: Array) -> None:
    """Two volumes of one name are legal, so a second call would make a second one."""
    array.fault("cut", "CreateVolume")
    volume = array.volume()
    array.fault("cut", "CloneVolume")
    array.backend().create_snapshot(volume, "copy", lambda: None)
    assert [one["volumeID"] for one in array.volumes()] == [1, 2]


@pytest.mark.parametrize("name", ["xDBOperationTimeout", "xDBConnectionLoss", "xRecvTimeout"])
def test_what_a_cluster_made_and_said_it_had_not_is_not_made_again(array: Array, name: str) -> None:
    for method in sorted(element.ONCE):
        array.fault("late", method, {"name": name})
    volume = array.volume()
    array.backend().create_snapshot(volume, "copy", lambda: None)
    array.attach(volume, "node1")
    assert holders.open_volume(array.backend(), volume, True, "-", ())
    assert [one["volumeID"] for one in array.volumes()] == [1, 2]
    assert len(array.cluster.groups) == 2


def test_an_opening_whose_answer_got_lost_is_still_the_first(array: Array) -> None:
    """Else the node would trust what it cached before another one wrote."""
    volume = array.volume()
    array.fault("cut", "AddAccount")
    assert holders.open_volume(array.backend(), volume, True, "-", ())
    assert not holders.open_volume(array.backend(), volume, True, "-", ())


@pytest.mark.parametrize("kind", ["status", "garbage"])
@pytest.mark.parametrize("method", METHODS)
def test_something_else_answers_for_a_moment(array: Array, method: str, kind: str) -> None:
    array.fault(kind, method, 503)
    life(array)
    assert array.volumes() == []


@pytest.mark.parametrize(
    "name", ["xDBVersionMismatch", "xNotPrimary", "xSliceNotRegistered", "XDBCONNECTIONLOSS"]
)
def test_errors_that_go_by_are_waited_out(array: Array, name: str) -> None:
    array.fault("error", "CreateVolume", {"name": name}, times=2)
    array.volume()
    assert array.calls().count("CreateVolume") == 3


def test_other_errors_are_not(array: Array) -> None:
    array.fault("error", "CreateVolume", {"name": "xInternalError", "message": "no luck"})
    with pytest.raises(ElementError, match=r"the cluster refuses CreateVolume: no luck \(xInternalError\)"):
        array.volume()
    assert array.calls().count("CreateVolume") == 1


def test_waiting_has_an_end(array: Array) -> None:
    array.fault("error", "CreateVolume", {"name": "xMaxClonesPerVolumeExceeded"}, times=0)
    with pytest.raises(ElementError, match="xMaxClonesPerVolumeExceeded"):
        array.volume()
    assert array.calls().count("CreateVolume") == element.TRIES


def test_a_reader_is_told_so(array: Array) -> None:
    array.password.write_text("readonly\n")
    with pytest.raises(ElementError, match="Permission denied for CreateVolume"):
        array.backend(user="reader").create_volume(NAME, SIZE)
    assert array.calls().count("CreateVolume") == 3


def test_a_slow_cluster_is_bounded_by_the_deadline(array: Array) -> None:
    array.fault("latency", "ListVolumes", 30)
    with pytest.raises(TimedOut, match="no answer within 5 s while the cluster was asked for ListVolumes"):
        array.backend(timeout="5").get_volume(NAME)


def test_a_silent_cluster_is_unreachable_and_its_volumes_unknown(array: Array) -> None:
    array.stop()
    with pytest.raises(PoolUnreachable, match=r"pool 'gold' does not answer: .*Connection refused$"):
        array.backend(timeout="5").get_volume(NAME)


def test_the_password_is_the_files(array: Array) -> None:
    array.password.write_text("wrong\n")
    with pytest.raises(LoginRefused, match="does not know user admin"):
        array.backend().get_volume(NAME)
    array.password.chmod(0o644)
    with pytest.raises(BadSecret, match="chmod 600"):
        array.backend().get_volume(NAME)
    array.password.unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        array.backend().get_volume(NAME)


# --- certificates ---------------------------------------------------------------------------------


def test_certificates_are_verified_unless_it_is_said(array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        NotTrusted, match=r"of 127.0.0.1:\d+ is not to be trusted \(unable to get local issuer"
    ):
        array.backend(ca_file="-").capacity()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    array.backend().capacity()
    array.backend(ca_file="-", verify="no").capacity()


def test_a_certificate_for_another_address_is_not_trusted(array: Array) -> None:
    with pytest.raises(NotTrusted, match="localhost"):
        array.backend(address="localhost").capacity()


def test_a_fingerprint_is_enough_and_must_be_right(array: Array) -> None:
    right = certificates.fingerprint(array.certificate)
    array.backend(ca_file="-", fingerprint=right).capacity()
    array.backend(ca_file="-", fingerprint=right.replace(":", "").lower()).capacity()
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    with pytest.raises(NotTrusted, match=r"[Ff]ingerprint"):
        array.backend(ca_file="-", fingerprint=wrong).capacity()
    with pytest.raises(ExtStorageError, match="64 hexadecimal digits"):
        array.backend(fingerprint="12:34")


def test_a_transcript_has_all_but_secrets(array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTSTORAGE_LOG_DIR", str(array.directory / "log"))
    volume = array.volume()
    data = array.backend(transcript="yes").initialize_connection(volume, properties("node1"))["data"]
    log = array.directory / "log/solidfire.transcript.log"
    told = log.read_text()
    assert '"method": "AddVolumesToVolumeAccessGroup"' in told
    assert data["target_iqn"] in told
    assert '"initiatorSecret": "***"' in told
    for account in array.cluster.accounts.values():
        assert account["initiatorSecret"] not in told
        assert account["targetSecret"] not in told
    assert log.stat().st_mode & 0o777 == 0o600


def test_no_secret_is_in_an_error(array: Array) -> None:
    array.password.write_text("hush-hush\n")
    for changes in ({}, {"ca_file": "-"}, {"port": "1"}):
        with pytest.raises(ExtStorageError) as caught:
            array.backend(**{"timeout": "1", **changes}).capacity()
        assert "hush" not in str(caught.value)


# --- somebody else --------------------------------------------------------------------------------


def test_a_volume_that_is_deleted_meanwhile(array: Array) -> None:
    volume = array.volume()
    array.fault("meanwhile", "ModifyVolume", {"call": "DeleteVolume", "params": {"volumeID": 1}})
    with pytest.raises(ElementError, match="VolumeID 1 does not exist"):
        array.backend().extend_volume(volume, SIZE + 1)


def test_a_second_create_of_the_name_meanwhile(array: Array) -> None:
    """Two calls at once: both look, both make; the one with the lower number has made it."""
    account = array.cluster.result("GetAccountByName", username="ganeti")["account"]["accountID"]
    marked = {"ganeti": {"volume": NAME, "account": "ganeti", "token": "other", "state": 0}}
    told = {"name": NAME.replace(".", "-"), "accountID": account, "totalSize": 10**9, "enable512e": True}
    told["attributes"] = marked
    array.fault("meanwhile", "CreateVolume", {"call": "CreateVolume", "params": told})
    with pytest.raises(ExtStorageError, match=r"the volume exists already .* in pool 'gold'"):
        array.volume()
    assert [one["attributes"]["ganeti"]["token"] for one in array.volumes()] == ["other"]


def test_an_access_group_that_is_deleted_meanwhile(array: Array) -> None:
    volume = array.volume()
    array.attach(array.volume("other"), "node1")
    other = {"call": "DeleteVolumeAccessGroup", "params": {"volumeAccessGroupID": 1}}
    array.fault("meanwhile", "AddVolumesToVolumeAccessGroup", other)
    array.attach(volume, "node1")
    assert array.backend().attached_nodes(volume) == ["node1"]
