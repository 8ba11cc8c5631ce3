# SPDX-License-Identifier: Apache-2.0
"""Volumes shown to nodes and hidden again: targets, units, views, groups, secrets."""

from __future__ import annotations

import contextlib
import multiprocessing

import pytest

from extstorage_common.deadline import Deadline
from extstorage_common.errors import ConfigurationError, Refused, Unreachable
from tests.comstar.conftest import KEY, MIB, PORTALS, Site, attach, detach, initiator

UNIT = "600144f"


def views(site: Site, guid: str) -> str:
    return site.run(f"stmfadm list-view -l {guid}")


@pytest.mark.parametrize("layout", ["target", "shared"])
def test_connection(site: Site, layout: str) -> None:
    backend = site.backend(layout=layout)
    backend.create_volume("v1", 16)
    data = attach(backend)
    assert data["target_portals"] == [PORTALS]
    assert data["target_iqns"] == [data["target_iqn"]]
    assert data["auth_method"] == "CHAP"
    assert data["auth_username"] == initiator("n1")
    assert len(data["auth_password"]) == 20
    assert data["wwn"].startswith("naa." + UNIT)
    assert data["size"] == 16 * MIB
    assert attach(site.backend(layout=layout)) == data
    guid = data["wwn"].removeprefix("naa.")
    assert views(site, guid).count("View Entry") == 1
    assert f"LUN          : {data['target_lun']}\n" in views(site, guid)
    assert site.run("itadm list-target").count("online") == 1


@pytest.mark.parametrize("layout", ["target", "shared"])
def test_each_node_sees_what_it_attached_and_nothing_else(site: Site, layout: str) -> None:
    """Reference 0.2, defect 6: the old driver showed every volume to everybody."""
    n1, n2 = (site.backend(node, layout=layout) for node in ("n1", "n2"))
    for name in ("v1", "v2"):
        n1.create_volume(name, 16)
    attach(n1, "v1")
    attach(n2, "v2")
    assert n1.attached_nodes(n1.get_volume("v1")) == ["n1"]
    assert n1.attached_nodes(n1.get_volume("v2")) == ["n2"]
    attach(n2, "v1")
    assert n1.attached_nodes(n1.get_volume("v1")) == ["n1", "n2"]
    detach(n1, "v1")
    assert n2.attached_nodes(n2.get_volume("v1")) == ["n2"]
    detach(n1, "v1")
    assert n2.attached_nodes(n2.get_volume("v1")) == ["n2"]


def test_shared_target_has_a_number_for_each(site: Site) -> None:
    backend = site.backend(layout="shared")
    found = []
    for number in range(8):
        backend.create_volume(f"v{number}", 16)
        found.append(attach(backend, f"v{number}"))
    assert len({data["target_iqn"] for data in found}) == 1
    assert len({data["target_lun"] for data in found}) == 8
    assert all(0 <= data["target_lun"] < 255 for data in found)


def test_number_that_is_taken(site: Site) -> None:
    backend = site.backend(layout="shared")
    backend.create_volume("v1", 16)
    data = attach(backend)
    detach(backend)
    group = next(line.split()[-1] for line in site.run("stmfadm list-tg").splitlines())
    site.run(f"stmfadm add-view -n {data['target_lun']} -h ganeti-n1 -t {group} {UNIT}{'0' * 25}")
    assert attach(backend)["target_lun"] == (data["target_lun"] + 1) % 255


def test_layout_is_that_of_the_volume(site: Site) -> None:
    """What a volume was made with counts, not what the configuration says today."""
    site.backend(layout="target").create_volume("v1", 16)
    iqn = attach(site.backend(layout="shared"))["target_iqn"]
    assert iqn.endswith(":v1")


def test_identity_follows_from_pool_and_name(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    first = attach(backend)["wwn"]
    backend.delete_volume(backend.get_volume("v1"))
    backend.create_volume("v1", 16)
    assert attach(backend)["wwn"] == first
    other = site.backend(dataset="tank/other")
    other.initialize_pool()
    other.create_volume("v1", 16)
    assert attach(other)["wwn"] != first


@pytest.mark.parametrize(
    "lost",
    [
        "itadm delete-target -f {iqn}",
        "stmfadm offline-target {iqn}",
        "stmfadm delete-lu {guid}",
        "stmfadm delete-lu -k {guid}",
        "stmfadm offline-lu {guid}",
        "stmfadm remove-view -l {guid} -a",
    ],
)
def test_what_was_lost_is_made_again(site: Site, lost: str) -> None:
    """The same disk, for the node that attaches."""
    backend = site.backend()
    backend.create_volume("v1", 16)
    data = attach(backend)
    guid = data["wwn"].removeprefix("naa.")
    site.run(lost.format(iqn=data["target_iqn"], guid=guid))
    assert attach(backend) == data
    assert "Operational Status: Online" in site.run(f"stmfadm list-lu -v {guid}")
    assert "online" in site.run(f"itadm list-target {data['target_iqn']}")
    assert "ganeti-n1" in views(site, guid)


def test_node_is_registered_once(site: Site) -> None:
    backend = site.backend()
    for name in ("v1", "v2"):
        backend.create_volume(name, 16)
    attach(backend, "v1")
    site.seen()
    attach(backend, "v2")
    assert not any("initiator" in line or "hg-member" in line or "cat" in line for line in site.seen())
    assert initiator("n1") in site.run("stmfadm list-hg -v ganeti-n1")


@pytest.mark.parametrize("done", ["itadm create-initiator", "stmfadm create-hg", "stmfadm add-hg-member"])
def test_registration_that_was_killed_is_finished(site: Site, done: str) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    site.machine.fault("cut", done, times=2)
    with pytest.raises(Unreachable):
        attach(backend)
    attach(site.backend())
    assert " set" in site.run(f"itadm list-initiator {initiator('n1')}")
    assert site.machine.call("files") == ["/dev/stdin"]


def test_node_with_another_initiator_than_before(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    attach(backend)
    backend.initialize_connection(volume, {"initiator": "iqn.1993-08.org.debian:01:new"})
    assert site.run("stmfadm list-hg -v ganeti-n1").split() == [
        "Host", "Group:", "ganeti-n1", "Member:", "iqn.1993-08.org.debian:01:new",
    ]  # fmt: skip


def test_initiator_in_somebody_elses_group(site: Site) -> None:
    """COMSTAR lets an initiator be in one group only: two nodes of one name, or an administrator's group."""
    backend = site.backend()
    backend.create_volume("v1", 16)
    site.run("stmfadm create-hg mine")
    site.run(f"stmfadm add-hg-member -g mine {initiator('n1')}")
    with pytest.raises(Refused, match="another host group"):
        attach(backend)
    site.run(f"stmfadm remove-hg-member -g mine {initiator('n1')}")
    attach(backend)


def test_secret_is_on_no_command_line_and_stays_nowhere(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    password = attach(backend)["auth_password"]
    assert site.machine.call("files") == ["/dev/stdin"]
    requests = site.machine.requests()
    assert any("create-initiator -S /tmp/ganeti-extstorage." in line for line in requests)
    assert not any(password in line or KEY in line for line in requests)
    other = site.backend("n2")
    assert attach(other)["auth_password"] != password


def test_secret_is_removed_whatever_happens(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    site.trouble("^itadm create-initiator", "itadm: internal error", status=5)
    with pytest.raises(Refused):
        attach(backend)
    assert site.machine.call("files") == ["/dev/stdin"]


@pytest.mark.parametrize("times", [1, 0])
@pytest.mark.parametrize("command", ["cat >", "rm -f"])
@pytest.mark.parametrize("kind", ["cut", "drop"])
def test_secret_is_removed_though_an_answer_was_lost(site: Site, kind: str, command: str, times: int) -> None:
    """Also where the connection is never to be had again."""
    backend = site.backend()
    backend.create_volume("v1", 16)
    site.machine.fault(kind, command, times=times)
    with contextlib.suppress(Unreachable):
        attach(backend)
    assert site.machine.call("files") == ["/dev/stdin"]


def test_secret_is_removed_though_the_call_was_killed(site: Site) -> None:
    """The machine goes on with what it was told."""
    site.backend().create_volume("v1", 16)
    site.machine.fault("latency", "itadm create-initiator", value=1)
    call = multiprocessing.get_context("fork").Process(target=attach, args=(site.backend(),))
    call.start()
    for _ in Deadline(60).attempts():
        if any("itadm create-initiator" in line for line in site.machine.requests()):
            break
    call.kill()
    call.join()
    for _ in Deadline(60).attempts():
        if any("itadm create-initiator" in line for line in site.seen()):
            break
    else:
        raise AssertionError("the command was never run")
    assert site.machine.call("files") == ["/dev/stdin"]


def test_secret_is_in_no_transcript(site: Site) -> None:
    backend = site.backend(transcript="yes", chap="mutual")
    backend.create_volume("v1", 16)
    data = attach(backend)
    said = (site.directory / "log/comstar.transcript.log").read_text()
    assert "create-initiator" in said
    assert not any(secret in said for secret in (data["auth_password"], data["mutual_auth_password"], KEY))


def test_without_chap(site: Site) -> None:
    backend = site.backend(chap="none", chap_key_file="")
    backend.create_volume("v1", 16)
    data = attach(backend)
    assert data["auth_method"] == "None"
    assert "auth_password" not in data
    assert "none" in site.run(f"itadm list-target -v {data['target_iqn']}")


def test_target_that_proves_who_it_is(site: Site) -> None:
    """With a secret of its own, which is on no command line and stays nowhere."""
    backend = site.backend(chap="mutual")
    backend.create_volume("v1", 16)
    site.seen()
    data = attach(backend)
    secret = data["mutual_auth_password"]
    assert len({secret, data["auth_password"], data["mutual_auth_username"]}) == 3
    told = site.run(f"itadm list-target -v {data['target_iqn']}").split()
    assert data["mutual_auth_username"] in told
    assert "unset" not in told
    assert site.machine.call("files") == ["/dev/stdin"]
    assert not any(secret in line or KEY in line for line in site.machine.requests())
    assert len([line for line in site.seen() if line.startswith("itadm create-target")]) == 1
    assert attach(site.backend("n2", chap="mutual"))["mutual_auth_password"] == secret
    assert not [line for line in site.seen() if line.startswith("itadm modify-target")]


@pytest.mark.parametrize("before", ["none", "one-way", "mutual"])
def test_target_that_had_no_proof_or_an_old_one(site: Site, before: str) -> None:
    old = site.config / "old"
    old.write_text("another line of random text\n")
    old.chmod(0o600)
    key = str(old) if before == "mutual" else site.options()["chap_key_file"]
    backend = site.backend(chap=before, chap_key_file=key)
    backend.create_volume("v1", 16)
    attach(backend)
    data = attach(site.backend(chap="mutual"))
    told = site.run(f"itadm list-target -v {data['target_iqn']}").split()
    assert data["mutual_auth_username"] in told
    assert "chap" in told
    assert "unset" not in told


def test_chap_needs_a_key(site: Site) -> None:
    backend = site.backend(chap_key_file="")
    backend.create_volume("v1", 16)
    with pytest.raises(ConfigurationError, match="chap_key_file"):
        attach(backend)
    with pytest.raises(ConfigurationError):
        dict(backend.checks())["chap key"]()


def test_portal_group(site: Site) -> None:
    """Reference 0.2, defect 7: the management address was taken for the portal."""
    site.run("itadm create-tpg p 192.0.2.7 192.0.2.8:3261")
    backend = site.backend(portal_group="p", portals="192.0.2.8:3261, 192.0.2.7")
    dict(backend.checks())["portal group"]()
    backend.create_volume("v1", 16)
    data = attach(backend)
    assert data["target_portals"] == ["192.0.2.8:3261", "192.0.2.7:3260"]
    assert "p = 2" in site.run(f"itadm list-target -v {data['target_iqn']}")
    with pytest.raises(ConfigurationError, match="has 192"):
        dict(site.backend(portal_group="p").checks())["portal group"]()


def test_node_is_forgotten(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    attach(site.backend("n2"))
    assert backend.forget_node("n3", False) == []
    with pytest.raises(Refused, match="in use"):
        backend.forget_node("n2", False)
    backend.revoke_connection(volume, "n2")
    named = ["host group ganeti-n2", f"initiator {initiator('n2')}"]
    assert backend.forget_node("n2", True) == named
    assert backend.forget_node("n2", False) == named
    assert backend.forget_node("n2", False) == []
    assert site.run("itadm list-initiator") == ""


def test_unit_of_another_is_left_alone(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    guid = attach(backend)["wwn"].removeprefix("naa.")
    backend.delete_volume(backend.get_volume("v1"))
    site.run("zfs create -s -V 16M tank/mine")
    site.run(f"stmfadm create-lu -p guid={guid} /dev/zvol/rdsk/tank/mine")
    backend.create_volume("v1", 16)
    with pytest.raises(Refused, match="left alone"):
        attach(backend)


def test_number_that_is_not_told(site: Site) -> None:
    """Some builds do not tell those that COMSTAR chose; ours are chosen here."""
    site.machine.call("says_auto")
    backend = site.backend(layout="shared")
    backend.create_volume("v1", 16)
    data = attach(backend)
    assert attach(backend) == data
    guid = data["wwn"].removeprefix("naa.")
    site.run(f"stmfadm remove-view -l {guid} -a")
    site.run(f"stmfadm add-view -h ganeti-n1 {guid}")
    with pytest.raises(Refused, match="tells no number"):
        attach(backend)


def test_several_portals_are_os_bricks(site: Site) -> None:
    backend = site.backend(portals="192.0.2.1, 192.0.2.2:3261")
    backend.create_volume("v1", 16)
    data = attach(backend)
    assert data["target_portals"] == ["192.0.2.1:3260", "192.0.2.2:3261"]
    assert len(data["target_iqns"]) == len(data["target_luns"]) == 2
    assert backend.connectors_of(backend.pool) == ("iscsi", "os_brick")
    assert attach(site.backend(connector="os-brick"))["connector"] == "os-brick"
