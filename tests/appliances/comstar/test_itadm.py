# SPDX-License-Identifier: Apache-2.0
"""The model's itadm against the reference of COMSTAR: sections 2.1 and 2.5."""

from __future__ import annotations

import pytest

from tests.appliances.comstar.conftest import Asked
from tests.appliances.comstar.machine import Comstar, File

IQN = "iqn.2026-01.org.example:v"
LONG = "iqn.2026-01.org.example:" + "v" * 60


def fails(asked: Asked, command: str, message: str, status: int) -> None:
    """A command fails, with itadm's last line."""
    name = command.split()[0]
    asked.fails(f"itadm {command}", f"{message}\nitadm {name} failed with error {status}", status)


def test_create_target(asked: Asked) -> None:
    assert asked.ok(f"itadm create-target -n {IQN}") == f"Target {IQN} successfully created\n"
    fails(asked, f"create-target {IQN}", f"iSCSI target {IQN} already configured", 17)
    assert asked.ok("itadm create-target").startswith("Target iqn.1986-03.com.sun:02:")


def test_names_that_are_none(asked: Asked) -> None:
    fails(asked, "create-target -n v", "Invalid name v", 22)
    fails(asked, f"create-target -n {IQN}_w", f"Invalid iSCSI name {IQN}_w", 14)


def test_modify_target(asked: Asked) -> None:
    asked.ok("itadm create-tpg p 192.0.2.1")
    asked.ok(f"itadm create-target -t p -n {IQN}")
    assert (
        asked.ok(f"itadm modify-target -n {IQN}2 -t default {IQN}")
        == f"Target {IQN}2 successfully modified\n"
    )
    assert "tpg-tags:          \tdefault\n" in asked.ok(f"itadm list-target -v {IQN}2")
    fails(asked, f"modify-target -t q {IQN}2", "Invalid tpg-tag q, tag not defined", 22)


def test_delete_target(asked: Asked, machine: Comstar) -> None:
    asked.ok(f"itadm create-target {IQN}")
    busy = f"The target is online or busy. Use the -f (force) option, or 'stmfadm offline-target {IQN}'"
    fails(asked, f"delete-target {IQN}", busy, 16)
    asked.ok(f"stmfadm offline-target {IQN}")
    asked.ok(f"itadm delete-target {IQN}")
    fails(asked, f"delete-target {IQN}", f"Target {IQN} not found", 1)
    asked.ok(f"itadm create-target {IQN}")
    machine.iscsi.sessions = lambda iqn: ["iqn.x"]
    asked.ok(f"itadm delete-target -f {IQN}")


def test_list_target(asked: Asked, machine: Comstar) -> None:
    assert asked.ok("itadm list-target") == ""
    asked.ok(f"itadm create-target {IQN}")
    asked.ok(f"itadm create-target {LONG}")
    machine.iscsi.sessions = lambda iqn: ["iqn.x"] if iqn == LONG else []
    assert asked.ok("itadm list-target").splitlines() == [
        f"{'TARGET NAME':<61}STATE    SESSIONS ",
        f"{IQN:<61}online   0        ",
        f"{LONG}\tonline   1        ",
    ]
    reply = asked.ask("itadm list-target iqn.x")
    assert reply.stderr.startswith("Target iqn.x not found!\n\n")
    assert reply.status == 1


def test_details_of_a_target(asked: Asked) -> None:
    asked.ok("itadm create-tpg p 192.0.2.1 192.0.2.2:3261")
    secret = asked.secret(b"0123456789ab\n")
    asked.ok(f"itadm create-target -a chap -u me -S {secret} -t p {IQN}")
    details = asked.ok(f"itadm list-target -v {IQN}").splitlines()[2:]
    assert [line.split() for line in details] == [
        ["alias:", "-"],
        ["auth:", "chap"],
        ["targetchapuser:", "me"],
        ["targetchapsecret:", "set"],
        ["tpg-tags:", "p", "=", "2"],
    ]
    asked.ok(f"itadm create-target {IQN}2")
    assert "none (defaults)\n" in asked.ok(f"itadm list-target -v {IQN}2")


def test_portal_groups(asked: Asked) -> None:
    asked.ok("itadm create-tpg p 192.0.2.1 192.0.2.2:3261")
    fails(asked, "create-tpg p 192.0.2.3", "Target Portal Group p already exists", 17)
    fails(asked, "create-tpg q 192.0.2.1", "Portal 192.0.2.1:3260 already in use", 17)
    assert asked.ok("itadm list-tpg -v") == (
        f"{'TARGET PORTAL GROUP':<30}PORTAL COUNT\n{'p':<30}2        \n"
        "    portals:\t192.0.2.1:3260,192.0.2.2:3261\n"
    )
    asked.ok(f"itadm create-target -t p {IQN}")
    text = "Target portal group associated with one or more targets.  Cannot delete."
    fails(asked, "delete-tpg p", text, 16)
    asked.ok("itadm delete-tpg -f p")


def test_initiators(asked: Asked) -> None:
    secret = asked.secret(b"0123456789ab")
    asked.ok(f"itadm create-initiator -S {secret} {IQN}")
    fails(asked, f"create-initiator {IQN}", f"Initiator {IQN} already exists", 22)
    fails(asked, "modify-initiator -u x iqn.x", "Initiator iqn.x not found", 2)
    fails(asked, "delete-initiator iqn.x", "Initiator iqn.x not found", 1)
    asked.ok(f"itadm modify-initiator -u me {IQN}")
    row = asked.ok(f"itadm list-initiator {IQN}").splitlines()[1]
    assert row.split() == [IQN, "me", "set"], "the secret is never shown"
    asked.ok(f"itadm delete-initiator {IQN}")
    assert asked.ok("itadm list-initiator") == ""


@pytest.mark.parametrize(
    ("content", "good"),
    [
        (b"x" * 11, False),
        (b"x" * 11 + b"\n", False),
        (b"x" * 12 + b"\n", True),
        (b"x" * 255, True),
        (b"x" * 256, False),
    ],
)
def test_length_of_secrets(asked: Asked, content: bytes, good: bool) -> None:
    """2.5 CHAP: 12 to 255 characters, one newline at the end doesn't count."""
    command = f"create-initiator -S {asked.secret(content)} {IQN}"
    if good:
        asked.ok(f"itadm {command}")
    else:
        fails(asked, command, "Secret must be between 12 and 255 characters", 22)


def test_secret_file_is_a_regular_one_of_our_own(asked: Asked, machine: Comstar) -> None:
    """2.5 CHAP: -S FILE."""
    fails(asked, f"create-initiator -S /dev/stdin {IQN}", "Invalid secret file /dev/stdin", 22)
    fails(asked, f"create-initiator -S /tmp/none {IQN}", "Invalid secret file /tmp/none", 22)
    machine.files["/tmp/readable"] = File(b"0123456789ab", 0o644)
    fails(asked, f"create-initiator -S /tmp/readable {IQN}", "Invalid secret file /tmp/readable", 22)
    fails(asked, f"create-initiator -s {IQN}", "Invalid secret", 22)


def test_defaults(asked: Asked) -> None:
    asked.ok(f"itadm create-target {IQN}")
    asked.ok("itadm modify-defaults -a chap")
    assert "auth:              \t<chap>\n" in asked.ok("itadm list-defaults")
    assert "chap (defaults)\n" in asked.ok(f"itadm list-target -v {IQN}")


def test_service_must_be_online(asked: Asked, machine: Comstar) -> None:
    """2.1."""
    machine.iscsi.status = "maintenance"
    asked.fails("itadm list-target", "The iSCSI target service must be online before running this command.")
