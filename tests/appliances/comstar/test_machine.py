# SPDX-License-Identifier: Apache-2.0
"""The model's shell, rights and troubles: the reference's sections 2.1 and 2.5 (uploading a secret)."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.appliances.comstar.conftest import Asked
from tests.appliances.comstar.machine import Comstar, File, Trouble
from tests.appliances.comstar.shell import ShellSyntax, parse, split


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1))
def test_what_is_quoted_is_one_word_whatever_it_is(words: list[str]) -> None:
    assert split(shlex.join(words)) == words


@pytest.mark.parametrize(
    "line",
    [
        "a $(b)",
        "a `b`",
        "a | b",
        "a & b",
        "a\nb",
        "a $x",
        'a "$x"',
        "a *",
        "a ?",
        "a < b",
        "a (b)",
        "a 'b",
        "a &&",
        ";",
        "a >",
    ],
)
def test_what_a_shell_would_act_upon_is_refused(line: str) -> None:
    with pytest.raises(ShellSyntax):
        parse(line)


def test_odd_lines_are_remembered(machine: Comstar) -> None:
    assert machine.execute("ganeti", "zfs list $(reboot)").status == 2
    assert machine.odd == ["zfs list $(reboot)"]
    assert machine.seen == []


def test_path_lacks_usr_sbin(machine: Comstar) -> None:
    reply = machine.execute("root", "zfs list")
    assert (reply.status, reply.stderr) == (127, "ksh: zfs: not found\n")
    assert machine.execute("root", "/usr/sbin/zfs list -H").status == 0


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("zfs create -s -V 1M tank/v", "permission denied"),
        ("stmfadm list-lu", "stmfadm: permission denied"),
        ("sbdadm list-lu", "sbdadm: permission denied"),
        ("itadm list-target", "Error, operation requires authorization solaris.smf.modify.stmf"),
    ],
)
def test_only_profiles_give_rights(machine: Comstar, line: str, text: str) -> None:
    """2.1: pfexec without a profile runs unprivileged."""
    machine.users["other"] = ()
    for user, prefix in (("other", "pfexec "), ("ganeti", "")):
        reply = machine.execute(user, f"{prefix}/usr/sbin/{line}")
        assert text in reply.stderr
        assert reply.status == 1
    assert machine.execute("root", f"/usr/sbin/{line}").status == 0
    assert machine.execute("other", "/usr/sbin/zfs list").status == 0


def test_upload_of_a_secret(machine: Comstar) -> None:
    """2.5 CHAP: by standard input, readable to its owner only."""
    assert machine.execute("ganeti", "umask 077; set -C; cat > '/tmp/x y'", b"secret").status == 0
    assert machine.files["/tmp/x y"] == File(b"secret", 0o600)
    assert machine.execute("ganeti", "umask 077; set -C; cat > '/tmp/x y'", b"other").status == 1
    machine.execute("ganeti", "cat > /tmp/z", b"secret")
    assert machine.files["/tmp/z"].mode == 0o644
    machine.execute("ganeti", "rm -f /tmp/z '/tmp/x y' /tmp/none")
    assert list(machine.files) == ["/dev/stdin"]


@pytest.mark.parametrize("input", [b"twelve letters", b"short"])
def test_a_file_for_the_time_of_a_line(machine: Comstar, input: bytes) -> None:
    """Its end removes it, and its exit status is the command's."""
    line = "umask 077; trap 'rm -f /tmp/x' 0; trap 'exit 1' 1 15; cat > /tmp/x && "
    command = "/usr/sbin/itadm create-initiator -S /tmp/x iqn.2026-01.test:n1; exit"
    assert machine.execute("root", line + command, input).status == (0 if len(input) > 12 else 22)
    assert list(machine.files) == ["/dev/stdin"]
    assert machine.odd == []


def test_commands_in_a_row(machine: Comstar) -> None:
    machine.execute("root", "/usr/sbin/zfs create tank/x/y && /usr/sbin/zfs create tank/z")
    assert "tank/z" not in machine.datasets.by_name
    machine.execute("root", "/usr/sbin/zfs create tank/x/y; /usr/sbin/zfs create tank/z")
    assert "tank/z" in machine.datasets.by_name


def test_troubles(asked: Asked, machine: Comstar) -> None:
    """2.1: what changed meanwhile, what is busy."""
    text = "Configuration changed during processing.  Check the configuration, then retry this command if "
    text += "appropriate."
    machine.troubles = [
        Trouble("^stmfadm create-hg", f"stmfadm: {text}"),
        Trouble("^zfs create", "killed", 137, after=True),
    ]
    asked.fails("stmfadm create-hg h", f"stmfadm: {text}")
    asked.ok("stmfadm create-hg h")
    asked.fails("zfs create tank/c", "killed", 137)
    asked.fails("zfs create tank/c", "cannot create 'tank/c': dataset already exists")


def test_tell_what_changed(machine: Comstar) -> None:
    told: list[int] = []
    machine.changed = lambda: told.append(len(machine.seen))
    machine.execute("root", "/usr/sbin/zfs list")
    assert told == [1]
