# SPDX-License-Identifier: Apache-2.0
"""A modelled Solaris machine behind a real SSH server, and the backend of several nodes that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extstorage_common import config
from extstorage_common.backends.comstar import ComstarBackend
from extstorage_common.deadline import Deadline
from tests.appliances.running import Native, Running

MIB = 1 << 20
KEY = "a line of random text for the secrets of nodes"
PASSWORD = "secret"
PORTALS = "192.0.2.1:3260"
Nodes = Callable[..., ComstarBackend]


def initiator(node: str) -> str:
    """The initiator's name of a node of the tests."""
    return f"iqn.1993-08.org.debian:01:{node}"


class Site:
    """The machine, and the configuration by which nodes reach it."""

    def __init__(self, directory: Path, machine: Running) -> None:
        self.directory = directory
        self.machine = machine
        self.config = directory / "etc"
        self.config.mkdir()
        (self.config / "known_hosts").write_text(self.machine.known_hosts())
        for name, text in (("password", PASSWORD), ("chap_key", KEY)):
            (self.config / name).write_text(text + "\n")
            (self.config / name).chmod(0o600)

    def options(self, **changed: str) -> dict[str, str]:
        """What the configuration says of the pool."""
        said = {
            "address": self.machine.address,
            "port": str(self.machine.port),
            "password_file": str(self.config / "password"),
            "chap_key_file": str(self.config / "chap_key"),
            "known_hosts": str(self.config / "known_hosts"),
            "dataset": "tank/ganeti",
            "portals": PORTALS,
        }
        return said | changed

    def backend(self, node: str = "n1", seconds: float = 300, **changed: str) -> ComstarBackend:
        """What a call on a node uses."""
        file = str(self.config / "comstar.conf")
        configuration = config.Configuration("comstar", file, {"default": self.options(**changed)})
        table = (*config.COMMON_OPTIONS, *ComstarBackend.OPTIONS)
        return ComstarBackend(configuration.pool("default", table, {}), node, Deadline(seconds))

    def run(self, line: str) -> str:
        """Run a command on the machine itself, which must succeed; what it prints."""
        ended = self.machine.call("run", line=f"/usr/sbin/{line}")
        assert ended["status"] == 0, ended
        printed: str = ended["stdout"]
        return printed

    def seen(self) -> list[str]:
        """The commands that came since the last time, without their paths and prefixes."""
        return [
            " ".join(words).replace("LC_ALL=C pfexec /usr/sbin/", "") for words in self.machine.call("seen")
        ]

    def trouble(self, pattern: str, message: str, **fields: Any) -> None:
        """Let a command fail."""
        self.machine.call("trouble", pattern=pattern, message=message, **fields)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    """A machine that all tests share, each with a state of its own."""
    directory = tmp_path_factory.mktemp("machine")
    machine = Native("comstar", directory, "--user", "ganeti", "--portals", PORTALS)
    yield machine
    machine.stop()


@pytest.fixture
def site(machine: Native, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A machine with a pool."""
    monkeypatch.setenv("EXTSTORAGE_CONFIG_DIR", str(tmp_path / "etc"))
    for name in ("run", "log", "state", "ssconf"):
        monkeypatch.setenv(f"EXTSTORAGE_{name.upper()}_DIR", str(tmp_path / name))
    machine.call("reset")
    machine.order(clear=True)
    site = Site(tmp_path, machine)
    site.backend().initialize_pool()
    site.seen()
    machine.requests()
    machine.order(connections=True)
    return site


def attach(backend: ComstarBackend, name: str = "v1") -> dict[str, Any]:
    """Let a node reach a volume; the connection's data."""
    volume = backend.get_volume(name)
    told = backend.initialize_connection(volume, {"initiator": initiator(backend.node)})
    assert told["driver_volume_type"] == "iscsi"
    data: dict[str, Any] = told["data"]
    return data


def detach(backend: ComstarBackend, name: str = "v1") -> None:
    """Let a node reach a volume no more."""
    backend.terminate_connection(backend.get_volume(name), {"initiator": initiator(backend.node)})
