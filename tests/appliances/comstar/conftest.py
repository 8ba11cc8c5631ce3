# SPDX-License-Identifier: Apache-2.0
"""A machine to ask, without SSH between."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.appliances.comstar.machine import Comstar, Reply

GIB = 1 << 30


class Asked:
    """A machine, asked as the user ``ganeti``, by pfexec and absolute paths."""

    def __init__(self, machine: Comstar) -> None:
        self.machine = machine

    def ask(self, line: str, stdin: bytes = b"", user: str = "ganeti") -> Reply:
        """How a command of /usr/sbin ends."""
        return self.machine.execute(user, f"pfexec /usr/sbin/{line}", stdin)

    def ok(self, line: str) -> str:
        """What a command prints that must succeed."""
        reply = self.ask(line)
        assert (reply.status, reply.stderr) == (0, ""), reply
        return reply.stdout

    def fails(self, line: str, stderr: str, status: int = 1) -> None:
        """A command must end so, with nothing on stdout."""
        reply = self.ask(line)
        assert (reply.status, reply.stderr, reply.stdout) == (status, stderr + "\n" if stderr else "", ""), (
            reply
        )

    def volume(self, name: str = "tank/v", size: int = GIB) -> None:
        """Make a volume."""
        self.ok(f"zfs create -s -V {size} {name}")

    def unit(self, name: str = "tank/v", guid: str = "600144f" + "0" * 25) -> str:
        """Make a volume and a unit on it; returns its GUID."""
        self.volume(name)
        self.ok(f"stmfadm create-lu -p guid={guid} /dev/zvol/rdsk/{name}")
        return guid

    def secret(self, content: bytes, path: str = "/tmp/secret", mode: str = "077") -> str:
        """Upload a secret; returns its file."""
        line = f"umask {mode}; cat > {shlex.quote(path)}"
        assert self.machine.execute("ganeti", line, content) == Reply()
        return path


@pytest.fixture
def machine(tmp_path: Path) -> Comstar:
    """A machine with one pool of 10 GiB."""
    return Comstar(tmp_path, {"tank": 10 * GIB})


@pytest.fixture
def asked(machine: Comstar) -> Asked:
    """That machine, to be asked."""
    return Asked(machine)
