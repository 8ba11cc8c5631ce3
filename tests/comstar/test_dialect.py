# SPDX-License-Identifier: Apache-2.0
"""How the machine is talked to: words, odd answers, troubles that pass, and how often it is asked."""

from __future__ import annotations

import shlex

import pytest

from extstorage_common.backends.comstar_commands import Machine
from extstorage_common.errors import ConfigurationError, Refused, TimedOut, Unreachable
from tests.comstar.conftest import MIB, Site, attach, detach

HOSTILE = [
    "it's", 'a "b"', "a;reboot", "$(reboot)", "`reboot`", "a\nb", " a ", "a|b", "a&b", "a>b", "*", "~",
    "\\", "#",
    "\N{GREEK SMALL LETTER ALPHA}", "-rf", "{a,b}", "!x", "%s",
]  # fmt: skip
CHANGED = "Configuration changed during processing.  Check the configuration, then retry this command"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_word_stays_a_word(site: Site, text: str) -> None:
    """Old driver: no quoting at all."""
    site.backend().machine.ask("zfs", "list", text)
    ((*_, word),) = site.machine.call("seen")
    assert word == text
    assert site.machine.call("odd") == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_metadata_and_names_of_nodes(site: Site, text: str) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    backend.set_metadata(volume, text)
    assert backend.describe(volume)["metadata"] == text
    assert site.machine.call("odd") == []


def test_commands_have_absolute_paths_and_a_known_language(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    attach(backend)
    lines = site.machine.requests()
    for line in lines:
        assert shlex.split(line)[0] in ("LC_ALL=C", "umask", "rm"), line
    assert site.backend("root", pfexec="no").machine.prefix == "LC_ALL=C"


@pytest.mark.parametrize("kind", ["no-status", "flood", "noise"])
def test_odd_answers(site: Site, kind: str) -> None:
    """Section 0.1: no exit status, long errors before the output; and a banner that nobody asked for."""
    value = {"flood": 1 << 16, "noise": "Oracle Corporation\tSunOS 5.11\n", "no-status": None}[kind]
    site.machine.fault(kind, "", times=0, value=value)
    backend = site.backend()
    backend.create_volume("v1", 16)
    data = attach(backend)
    backend.extend_volume(backend.get_volume("v1"), 32)
    assert attach(backend) == data | {"size": 32 * MIB}
    detach(backend)
    backend.create_snapshot(backend.get_volume("v1"), "v1.snap", lambda: None)
    for name in ("v1.snap", "v1"):
        backend.delete_volume(backend.get_volume(name))


def test_failure_without_a_status_is_a_failure(site: Site) -> None:
    site.machine.fault("no-status", "zfs create")
    site.trouble("^zfs create", "cannot create 'tank/ganeti/v1': I/O error")
    with pytest.raises(Refused, match="I/O error"):
        site.backend().create_volume("v1", 16)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("^stmfadm add-view", f"stmfadm: {CHANGED}"),
        ("^itadm create-target", f"itadm: {CHANGED}"),
        ("^stmfadm create-lu", "stmfadm: resource busy"),
        ("^stmfadm create-lu", "stmfadm: data file error"),
    ],
)
def test_passing_trouble_is_waited_for(site: Site, pattern: str, message: str) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    site.trouble(pattern, message, times=3)
    attach(backend)


def test_volume_that_is_busy_for_a_moment_is_deleted(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    site.trouble("^zfs destroy", "cannot destroy 'tank/ganeti/v1/disk': dataset is busy", times=2)
    backend.delete_volume(backend.get_volume("v1"))


def test_other_trouble_is_told_at_once_in_the_machines_words(site: Site) -> None:
    backend = site.backend()
    site.trouble("^zfs create", "cannot create 'tank/ganeti/v1': I/O error\nmore", times=1)
    with pytest.raises(Refused) as raised:
        backend.create_volume("v1", 16)
    assert str(raised.value).endswith(": cannot create 'tank/ganeti/v1': I/O error")


@pytest.mark.parametrize("words", ["stmfadm list-state", "itadm list-target", "zfs create tank/x"])
def test_rights_that_are_missing(site: Site, words: str) -> None:
    """Section 2.1: pfexec without a profile."""
    with pytest.raises(Refused, match="rights profiles"):
        site.backend(pfexec="no").machine.do(*words.split())


def test_services_that_are_down(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    site.machine.call("service", service="iscsi", status="disabled")
    with pytest.raises(Unreachable, match="must be online"):
        attach(backend)
    site.machine.call("service", service="stmf", status="offline")
    with pytest.raises(Unreachable, match="STMF service offline"):
        backend.attached_nodes(backend.get_volume("v1"))


def test_silence_ends_with_the_deadline(site: Site) -> None:
    site.machine.fault("hang", "zfs")
    with pytest.raises(TimedOut):
        site.backend(seconds=5).get_volume("v1")


def test_machine_that_is_away_is_unreachable_and_not_empty(site: Site) -> None:
    site.machine.fault("drop", "zfs", times=2)
    with pytest.raises(Unreachable):
        site.backend().get_volume("v1")
    with pytest.raises(Unreachable):
        site.backend(port="1").get_volume("v1")


MAKING = ["zfs create -o mountpoint", "create-lu", "create-tg", "add-tg-member", "create-target", "add-view"]


@pytest.mark.parametrize("kind", ["cut", "drop"])
@pytest.mark.parametrize("command", [*MAKING, "zfs list", "list-target", "list-lu", "list-hg", "list-view"])
def test_answer_that_is_lost_once(site: Site, command: str, kind: str) -> None:
    """Whether the command took effect or not: it is given again, and what is then found is our own."""
    site.machine.fault(kind, command)
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    attach(backend)
    assert backend.attached_nodes(volume) == ["n1"]
    assert not site.machine.call("faults")


@pytest.mark.parametrize("layout", ["target", "shared"])
@pytest.mark.parametrize("kind", ["cut", "drop"])
def test_view_whose_removal_got_no_answer(site: Site, kind: str, layout: str) -> None:
    """Entries are removed by number, and the number may be another node's by then."""
    nodes = [site.backend(node, layout=layout) for node in ("n1", "n2")]
    nodes[0].create_volume("v1", 16)
    attach(nodes[0])
    attach(nodes[1])
    site.machine.fault(kind, "remove-view")
    detach(nodes[0])
    assert nodes[0].attached_nodes(nodes[0].get_volume("v1")) == ["n2"]


def test_unit_that_two_nodes_make_at_once(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    attach(site.backend("n2"))
    for said in ("stmfadm: guid in use", "stmfadm: filename /dev/zvol/rdsk/x: in use"):
        site.trouble("list-lu", f"stmfadm: {'0' * 32}: not found")
        site.trouble("create-lu", said)
        attach(backend)
    site.trouble("list-lu", f"stmfadm: {'0' * 32}: not found", times=2)
    site.trouble("create-lu", "stmfadm: filename /dev/zvol/rdsk/x: in use")
    with pytest.raises(Refused, match="in use"):
        attach(backend)


@pytest.mark.parametrize("after", MAKING)
def test_connection_cut_after_a_command_took_effect(site: Site, after: str) -> None:
    site.machine.fault("cut", after, times=2)
    try:
        site.backend().create_volume("v1", 16)
        attach(site.backend())
    except Unreachable:
        pass
    else:
        pytest.fail("the fault did not happen")
    backend = site.backend()
    if after.startswith("zfs create"):
        backend.create_volume("v1", 16)
    attach(backend)
    backend.delete_volume(backend.get_volume("v1"))
    assert site.run("stmfadm list-lu") == site.run("itadm list-target") == site.run("stmfadm list-tg") == ""


def test_disk_whose_maker_got_no_answer_is_there(site: Site) -> None:
    """Ganeti removes nothing after a create that failed, and a complete volume is never made anew."""
    backend = site.backend()
    site.machine.fault("cut", "zfs create .*-V")
    volume = backend.create_volume("v1", 16)
    site.machine.fault("cut", "zfs clone")
    backend.create_snapshot(volume, "v1.snap", lambda: None)
    assert backend.list_volumes() == ["v1", "v1.snap"]
    site.machine.fault("drop", "zfs create .*-V", times=2)
    with pytest.raises(Unreachable):
        backend.create_volume("v2", 16)
    backend.create_volume("v2", 16)


@pytest.mark.parametrize("after", ["delete-lu", "delete-target", "delete-tg", "destroy -r"])
def test_deletion_that_was_cut_is_finished(site: Site, after: str) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    attach(backend)
    site.machine.fault("cut", after, times=2)
    with pytest.raises(Unreachable):
        backend.delete_volume(backend.get_volume("v1"))
    if after != "destroy -r":
        backend = site.backend()
        backend.delete_volume(backend.get_volume("v1"))
    assert site.run("zfs list -H -o name -r tank/ganeti") == "tank/ganeti\n"
    assert site.run("stmfadm list-lu") == site.run("itadm list-target") == site.run("stmfadm list-tg") == ""


def test_key_of_the_host_is_checked(site: Site) -> None:
    """Section 0.1: the old driver took any."""
    (site.config / "known_hosts").write_text("")
    with pytest.raises(Unreachable, match="host key"):
        site.backend().get_volume("v1")


def test_neither_password_nor_key(site: Site) -> None:
    with pytest.raises(ConfigurationError):
        site.backend(password_file="").get_volume("v1")


def test_usage_errors_are_told_though_they_are_on_standard_output(site: Site) -> None:
    machine: Machine = site.backend().machine
    with pytest.raises(Refused, match="invalid subcommand"):
        machine.do("stmfadm", "frobnicate")
