# SPDX-License-Identifier: Apache-2.0
"""The model's stmfadm against the reference of COMSTAR: sections 2.1 (common rules), 2.3, 2.4 and 0.2."""

from __future__ import annotations

import pytest

from tests.appliances.comstar.conftest import GIB, Asked
from tests.appliances.comstar.machine import Comstar

GUID = "600144f" + "0" * 25
OTHER = "600144f" + "1" * 25
IQN = "iqn.2026-01.org.example:v"


# --- 2.1 common rules ---------------------------------------------------------------------------------


def test_wrong_usage_is_told_on_stdout(asked: Asked) -> None:
    for line, text in (
        ("stmfadm frobnicate", "stmfadm: invalid subcommand\nUsage: "),
        ("stmfadm add-hg-member iqn.2026-01.org.example:n1", "Following option(s) required: g\n"),
    ):
        reply = asked.ask(line)
        assert reply.stdout.startswith(text)
        assert (reply.status, reply.stderr) == (1, "")
    assert asked.ask("stmfadm -?").status == 2, "a shell takes it for a pattern"
    assert asked.ask("stmfadm '-?'").status == 0


def test_subcommands_in_any_case_and_options_after_operands(asked: Asked) -> None:
    asked.ok("stmfadm CREATE-HG h")
    asked.ok("stmfadm add-hg-member iqn.2026-01.org.example:n1 -g h")
    assert asked.ok("stmfadm list-hg h -v") == "Host Group: h\n\tMember: iqn.2026-01.org.example:n1\n"


def test_status_counts_the_operands_that_failed(asked: Asked) -> None:
    reply = asked.ask(f"stmfadm delete-lu {GUID} {OTHER}")
    assert reply.status == 2
    assert reply.stderr == f"stmfadm: {GUID}: not found\nstmfadm: {OTHER}: not found\n"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("offline", "STMF service offline"),
        ("not found", "STMF service not found"),
        ("not initialized", "STMF service is not initialized"),
    ],
)
def test_service_down(asked: Asked, machine: Comstar, status: str, text: str) -> None:
    machine.stmf.status = status
    asked.fails("stmfadm list-lu", f"stmfadm: {text}")


# --- 2.4 units ----------------------------------------------------------------------------------------


def test_create_lu_prints_upper_case(asked: Asked) -> None:
    asked.volume()
    made = asked.ok(f"stmfadm create-lu -p guid={GUID} /dev/zvol/rdsk/tank/v")
    assert made == f"Logical unit created: {GUID.upper()}\n"
    assert asked.ok("stmfadm list-lu") == f"LU Name: {GUID.upper()}\n"


def test_generated_guids_begin_with_suns_number(asked: Asked) -> None:
    """2.6: 600144F0, the host's number, 0000, a time and a counter."""
    asked.volume()
    assert asked.ok("stmfadm create-lu /dev/zvol/rdsk/tank/v") == (
        "Logical unit created: 600144F0991C8E00000052ADD63B0001\n"
    )


def test_create_lu_twice(asked: Asked) -> None:
    asked.unit()
    asked.fails("stmfadm create-lu /dev/zvol/rdsk/tank/v", "stmfadm: filename /dev/zvol/rdsk/tank/v: in use")
    asked.volume("tank/w")
    asked.fails(f"stmfadm create-lu -p guid={GUID} /dev/zvol/rdsk/tank/w", "stmfadm: guid in use")


def test_create_lu_on_nothing(asked: Asked) -> None:
    asked.fails("stmfadm create-lu /dev/zvol/rdsk/tank/v", "stmfadm: data file error")


def test_device_node_may_come_late(asked: Asked, machine: Comstar) -> None:
    """2.2 device: retry create-lu on "data file error"."""
    asked.volume()
    machine.stmf.late_nodes = 1
    asked.fails("stmfadm create-lu /dev/zvol/rdsk/tank/v", "stmfadm: data file error")
    asked.ok("stmfadm create-lu /dev/zvol/rdsk/tank/v")


def test_properties_of_a_new_unit(asked: Asked) -> None:
    asked.volume()
    path = "/dev/zvol/rdsk/tank/v"
    asked.fails(f"stmfadm create-lu -p colour=red {path}", "stmfadm: invalid property specified: colour")
    asked.fails(f"stmfadm create-lu -p guid=6001 {path}", "stmfadm: unable to set guid: invalid length")
    asked.fails(f"stmfadm create-lu -p guid={'x' * 32} {path}", "stmfadm: unable to set guid: bad format")
    asked.ok(f"stmfadm create-lu -p alias=mine -p serial=1 -p vid=GANETI {path}")


def test_smallest_unit_is_a_mib(asked: Asked) -> None:
    """2.3 kernel facts; the two commands' words for it."""
    asked.volume(size=128 << 10)
    asked.fails("stmfadm create-lu /dev/zvol/rdsk/tank/v", "stmfadm: file size invalid")
    reply = asked.ask("sbdadm create-lu /dev/zvol/rdsk/tank/v")
    assert reply.stderr == "sbdadm: unknown error\n"
    assert reply.status != 0


def test_details_of_a_unit(asked: Asked) -> None:
    asked.unit()
    lines = asked.ok(f"stmfadm list-lu -v {GUID}").splitlines()
    assert lines[0] == f"LU Name: {GUID.upper()}"
    assert lines[1:] == [
        "    Operational Status: Online",
        "    Provider Name     : sbd",
        "    Alias             : /dev/zvol/rdsk/tank/v",
        "    View Entry Count  : 0",
        "    Data File         : /dev/zvol/rdsk/tank/v",
        "    Meta File         : not set",
        f"    Size              : {GIB}",
        "    Block Size        : 512",
        "    Management URL    : not set",
        "    Vendor ID         : SUN     ",
        "    Product ID        : COMSTAR         ",
        "    Serial Num        : not set",
        "    Write Protect     : Disabled",
        "    Writeback Cache   : Enabled",
        "    Access State      : Active",
    ]


def test_unknown_and_invalid_guids(asked: Asked) -> None:
    asked.fails(f"stmfadm list-lu {GUID}", f"stmfadm: {GUID}: not found")
    reply = asked.ask("stmfadm list-lu 6001")
    assert (reply.status, reply.stderr) == (0, "stmfadm: 6001: must be 32 hexadecimal digits long\n")
    assert asked.ok("stmfadm list-lu") == ""


def test_import_keeps_the_guid(asked: Asked) -> None:
    guid = asked.unit()
    asked.ok(f"stmfadm delete-lu {guid}")
    assert asked.ok("stmfadm import-lu /dev/zvol/rdsk/tank/v") == f"Logical unit imported: {guid.upper()}\n"
    asked.fails("stmfadm import-lu /dev/zvol/rdsk/tank/v", "stmfadm: filename /dev/zvol/rdsk/tank/v: in use")


def test_modify_never_looks_at_the_volume(asked: Asked) -> None:
    """2.3 kernel facts: a size beyond the volume's is taken."""
    guid = asked.unit()
    asked.ok(f"stmfadm modify-lu -s {5 * GIB} {guid}")
    assert f"Size              : {5 * GIB}\n" in asked.ok(f"stmfadm list-lu -v {guid}")
    asked.fails(f"stmfadm modify-lu -s 1g {OTHER}", "stmfadm: could not set property: size: 32770")
    asked.fails(f"stmfadm modify-lu -s 1x {guid}", "stmfadm: could not set property: size: 1x")
    asked.fails(f"stmfadm modify-lu -p guid={OTHER} {guid}", "stmfadm: invalid property for modify")
    asked.ok("stmfadm modify-lu -f -s 1g /dev/zvol/rdsk/tank/v")


def test_volume_that_grows_is_not_seen_before_the_unit_does(asked: Asked) -> None:
    """2.3 grow visibility."""
    guid = asked.unit()
    asked.ok("zfs set volsize=2G tank/v")
    assert f"Size              : {GIB}\n" in asked.ok(f"stmfadm list-lu -v {guid}")


# --- 2.4 views ----------------------------------------------------------------------------------------


def test_views(asked: Asked) -> None:
    guid = asked.unit()
    asked.ok("stmfadm create-hg h")
    asked.ok(f"stmfadm add-view -h h {guid}")
    assert asked.ok(f"stmfadm list-view -l {guid.upper()}") == (
        "View Entry: 0\n    Host group   : h\n    Target group : All\n    LUN          : 0\n"
    )
    asked.fails(f"stmfadm remove-view -l {guid} 3", f"stmfadm: {guid}: 3: not found")
    asked.ok(f"stmfadm remove-view -l {guid} 0")
    asked.fails(f"stmfadm list-view -l {guid.upper()}", f"stmfadm: {guid}: no views found")
    asked.fails(f"stmfadm remove-view -l {guid} -a", f"stmfadm: {guid}: no views found")


def test_the_same_view_again_is_an_error(asked: Asked) -> None:
    """2.4: the idempotence trap, and that no group means all of them."""
    guid = asked.unit()
    for group in ("h", "i"):
        asked.ok(f"stmfadm create-hg {group}")
    asked.ok(f"stmfadm add-view -h h {guid}")
    for line in (f"add-view -h h {guid}", f"add-view {guid}", f"add-view -n 7 -h h {guid}"):
        asked.fails(f"stmfadm {line}", "stmfadm: view entry exists")
    asked.ok(f"stmfadm add-view -h i {guid}")


def test_lowest_free_lun(asked: Asked) -> None:
    for number in range(3):
        asked.unit(f"tank/v{number}", f"600144f{number:025x}")
        asked.ok(f"stmfadm add-view 600144f{number:025x}")
        assert f"LUN          : {number}\n" in asked.ok(f"stmfadm list-view -l 600144f{number:025x}")


def test_number_that_some_builds_do_not_tell(asked: Asked, machine: Comstar) -> None:
    machine.stmfadm.says_auto = True
    asked.unit()
    asked.unit("tank/w", OTHER)
    asked.ok(f"stmfadm add-view {GUID}")
    asked.ok(f"stmfadm add-view -n 7 {OTHER}")
    assert "LUN          : Auto\n" in asked.ok(f"stmfadm list-view -l {GUID}")
    assert "LUN          : 7\n" in asked.ok(f"stmfadm list-view -l {OTHER}")


def test_lun_that_is_taken_or_too_high(asked: Asked) -> None:
    asked.unit()
    asked.unit("tank/w", OTHER)
    for group in ("h", "i"):
        asked.ok(f"stmfadm create-hg {group}")
    asked.ok(f"stmfadm add-view -n 5 -h h {GUID}")
    asked.fails(f"stmfadm add-view -n 5 -h h {OTHER}", "stmfadm: LUN already in use")
    asked.fails(f"stmfadm add-view -n 5 {OTHER}", "stmfadm: LUN already in use")
    asked.ok(f"stmfadm add-view -n 5 -h i {OTHER}")
    asked.fails(f"stmfadm add-view -n 16384 {OTHER}", "stmfadm: Logical unit number must be less than 16384")


def test_groups_of_a_view_must_be_there(asked: Asked) -> None:
    guid = asked.unit()
    asked.fails(f"stmfadm add-view -h h {guid}", "stmfadm: invalid host group")
    asked.fails(f"stmfadm add-view -t t {guid}", "stmfadm: invalid target group")
    asked.fails("stmfadm add-view 12", "stmfadm: 12: must be 32 hexadecimal digits long")


def test_views_live_without_their_unit(asked: Asked) -> None:
    """2.4: views attach to GUIDs; 2.3: delete-lu and orphan views."""
    asked.ok(f"stmfadm add-view {GUID}")
    listed = asked.ok("stmfadm list-lu -v")
    assert listed.startswith(f"LU Name: {GUID.upper()}\n    Operational Status: unregistered\n")
    asked.ok(f"sbdadm delete-lu {GUID}")
    asked.fails(f"sbdadm delete-lu {GUID}", f"sbdadm: {GUID}: not found")


def test_delete_lu_takes_the_views_unless_told(asked: Asked) -> None:
    guid = asked.unit()
    asked.ok(f"stmfadm add-view {guid}")
    asked.ok(f"stmfadm delete-lu -k {guid}")
    assert "View Entry: 0" in asked.ok(f"stmfadm list-view -l {guid}")
    asked.ok("stmfadm import-lu /dev/zvol/rdsk/tank/v")
    asked.ok(f"stmfadm delete-lu {guid}")
    asked.fails(f"stmfadm list-view -l {guid}", f"stmfadm: {guid}: no views found")


# --- 2.4 groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "title", "option"), [("hg", "Host", "h"), ("tg", "Target", "t")])
def test_groups(asked: Asked, kind: str, title: str, option: str) -> None:
    asked.ok(f"stmfadm create-{kind} g")
    asked.fails(f"stmfadm create-{kind} g", "stmfadm: g: already exists")
    assert asked.ok(f"stmfadm list-{kind}") == f"{title} Group: g\n", "0.2: with a capital G"
    asked.fails(f"stmfadm list-{kind} f", "stmfadm: f: not found")
    asked.ok(f"stmfadm add-{kind}-member -g g {IQN.upper()}")
    assert asked.ok(f"stmfadm list-{kind} -v g") == f"{title} Group: g\n\tMember: {IQN}\n"
    asked.ok(f"stmfadm add-view -{option} g {GUID}")
    asked.fails(f"stmfadm delete-{kind} g", "stmfadm: group is in use by existing view entry")
    asked.ok(f"stmfadm remove-view -l {GUID} -a")
    asked.ok(f"stmfadm remove-{kind}-member -g g {IQN}")
    asked.fails(f"stmfadm remove-{kind}-member -g g {IQN}", f"stmfadm: {IQN}: not found")
    asked.ok(f"stmfadm delete-{kind} g")
    asked.fails(f"stmfadm delete-{kind} g", "stmfadm: g: not found")


def test_member_of_one_group_only(asked: Asked) -> None:
    for group in ("g", "h"):
        asked.ok(f"stmfadm create-hg {group}")
    asked.ok(f"stmfadm add-hg-member -g g {IQN}")
    for group in ("g", "h"):
        asked.fails(f"stmfadm add-hg-member -g {group} {IQN}", f"stmfadm: {IQN}: already exists")
    asked.fails(f"stmfadm add-hg-member -g i {IQN}", "stmfadm: i: not found")


@pytest.mark.parametrize("name", ["iqn.2026-01.org.example:a_b", "n1", "eui.12", "iqn." + "a" * 220])
def test_names_that_are_none(asked: Asked, name: str) -> None:
    """2.4: device ids accepted."""
    asked.ok("stmfadm create-hg g")
    asked.fails(f"stmfadm add-hg-member -g g {name}", f"stmfadm: {name}: unrecognized device id")


def test_target_becomes_a_member_before_it_is_online(asked: Asked) -> None:
    """0.2: the member before the target."""
    asked.ok("stmfadm create-tg t")
    asked.ok(f"stmfadm add-tg-member -g t {IQN}")
    asked.ok(f"itadm create-target -n {IQN}2")
    asked.fails(f"stmfadm add-tg-member -g t {IQN}2", f"stmfadm: {IQN}2: STMF target must be offline")
    asked.ok(f"stmfadm offline-target {IQN}2")
    asked.ok(f"stmfadm add-tg-member -g t {IQN}2")


# --- 2.4 targets --------------------------------------------------------------------------------------


def test_targets_and_their_sessions(asked: Asked, machine: Comstar) -> None:
    assert asked.ok("stmfadm list-target") == ""
    asked.fails(f"stmfadm list-target {IQN}", f"stmfadm: {IQN}: not found")
    asked.ok(f"itadm create-target -n {IQN}")
    machine.iscsi.sessions = lambda iqn: ["iqn.2026-01.org.example:n1"]
    assert asked.ok(f"stmfadm list-target -v {IQN}") == (
        f"Target: {IQN}\n"
        "    Operational Status: Online\n    Provider Name     : iscsit\n    Alias             : -\n"
        "    Protocol          : iSCSI\n    Sessions          : 1\n"
        "        Initiator: iqn.2026-01.org.example:n1\n            Alias: -\n"
        "            Logged in since: Thu Jan  1 00:00:00 2026\n"
    )
    asked.ok(f"stmfadm offline-target {IQN}")
    assert "Operational Status: Offline" in asked.ok(f"stmfadm list-target -v {IQN}")
    asked.fails("stmfadm online-target iqn.x", "stmfadm: iqn.x: not found")


def test_list_state(asked: Asked) -> None:
    assert asked.ok("stmfadm list-state") == (
        "Operational Status: online\nConfig Status     : initialized\n"
        "ALUA Status       : disabled\nALUA Node         : 0\n"
    )


# --- who sees what ------------------------------------------------------------------------------------


def test_view_without_a_host_group_shows_to_everybody(asked: Asked, machine: Comstar) -> None:
    """0.2 defect 6, and what groups are for."""
    asked.unit()
    asked.ok(f"itadm create-target -n {IQN}")
    asked.ok(f"stmfadm add-view -n 3 {GUID}")
    assert list(machine.stmf.seen("iqn.any", IQN)) == [3]
    asked.ok(f"stmfadm remove-view -l {GUID} -a")
    for line in ("create-hg h", "add-hg-member -g h iqn.a", f"add-view -h h {GUID}"):
        asked.ok(f"stmfadm {line}")
    assert list(machine.stmf.seen("iqn.a", IQN)) == [0]
    assert not machine.stmf.seen("iqn.b", IQN)
    asked.ok(f"stmfadm offline-lu {GUID}")
    assert not machine.stmf.seen("iqn.a", IQN)
