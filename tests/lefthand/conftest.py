# SPDX-License-Identifier: Apache-2.0
"""Nodes whose provider is ``lefthand``, and a modelled array that exports nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extstorage_common import backends, config
from extstorage_common.backends.lefthand import LeftHandBackend
from extstorage_common.deadline import Deadline
from tests.appliances.running import Native
from tests.conftest import CHECKOUT, Node, Site

POOL = """\
address = {address}
port = {port}
password_file = {directory}/password
cluster = c1
timeout = 100
"""


class ArraySite(Site):
    """A pool on a modelled array, and the nodes that share it."""

    def __init__(self, directory: Path, array: Native) -> None:
        self.directory = directory
        self.array = array
        self.config = directory / "etc"
        self.ssconf = directory / "ssconf"
        self.config.mkdir()
        self.ssconf.mkdir()
        (self.ssconf / "ssconf_cluster_name").write_text("cluster.example.com\n")
        (directory / "password").write_text("secret\n")
        (directory / "password").chmod(0o600)
        (self.config / "known_hosts").write_text(array.known_hosts())
        self.pool_options()

    def pool_text(self) -> str:
        """The options of a pool."""
        return POOL.format(address=self.array.address, port=self.array.port, directory=self.directory)

    def pool_options(self, *lines: str) -> None:
        """Configure the pool, with these lines more."""
        self.configure("[default]\n" + self.pool_text() + "".join(f"{line}\n" for line in lines))

    def configure(self, text: str) -> None:
        (self.config / "lefthand.conf").write_text(text)

    def node(self, name: str) -> Node:
        node = Node(self, name)
        node.provider = CHECKOUT / "providers/lefthand"
        node.environment["EXTP_PROVIDER"] = "lefthand"
        return node

    def state(self) -> dict[str, Any]:
        """What the array has."""
        state: dict[str, Any] = self.array.call("state")
        return state

    def description(self, volume: str = "v1") -> str:
        """The description of a volume on the array."""
        text: str = self.state()["volumes"][volume]["description"]
        return text

    def cliq(self, line: str) -> None:
        """Let somebody else do something at the array."""
        self.array.call("run", line=line)

    def made_elsewhere(self, volume: str) -> None:
        """Let it look as if the maker of this volume were a process of another machine."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        text = self.description(volume).replace(f"/{boot}/", "/01234567/")
        self.cliq(f'modifyVolume volumeName={volume} description="{text}"')

    def asked(self) -> list[str]:
        """The verbs of the commands since the last time."""
        return [line.split()[0] for line in self.array.requests()]

    def backend(self, node: str, name: str = "default") -> LeftHandBackend:
        """The backend, as a call of this node has it."""
        table = (*config.COMMON_OPTIONS, *LeftHandBackend.OPTIONS)
        pool = config.load("lefthand").pool(name, table, {})
        opened = backends.open_pool(LeftHandBackend, pool, node, Deadline(300))
        assert isinstance(opened, LeftHandBackend)
        return opened


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    """One array for all tests."""
    array = Native("lefthand", tmp_path_factory.mktemp("lefthand"))
    yield array
    array.stop()


@pytest.fixture
def array(running: Native) -> Native:
    """The array, as it was installed."""
    running.call("reset")
    running.order(clear=True)
    running.requests()
    running.order(connections=True)
    return running


@pytest.fixture
def site(tmp_path: Path, array: Native, monkeypatch: pytest.MonkeyPatch) -> ArraySite:
    """A pool named ``default`` on the array."""
    site = ArraySite(tmp_path, array)
    for name in ("CONFIG", "RUN", "SSCONF"):
        directory = {"CONFIG": site.config, "RUN": tmp_path / "run", "SSCONF": site.ssconf}[name]
        monkeypatch.setenv(f"EXTSTORAGE_{name}_DIR", str(directory))
    return site


@pytest.fixture
def n1(site: ArraySite) -> Node:
    """The first node."""
    return site.node("n1")


@pytest.fixture
def n2(site: ArraySite) -> Node:
    """The second node."""
    return site.node("n2")
