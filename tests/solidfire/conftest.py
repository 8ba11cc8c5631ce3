# SPDX-License-Identifier: Apache-2.0
"""A modelled cluster behind its server, a node that runs the scripts, and the backend without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from extstorage_common import config
from extstorage_common.backends.base import Volume
from extstorage_common.backends.solidfire import SolidFireBackend
from extstorage_common.config import Configuration
from extstorage_common.deadline import Deadline
from extstorage_common.transports import element
from tests.appliances.solidfire import Cluster, Settings, sessions
from tests.appliances.solidfire.certificates import Authority
from tests.appliances.solidfire.disks import Disks
from tests.appliances.solidfire.faults import switch_on
from tests.appliances.solidfire.front import Front
from tests.conftest import CHECKOUT, Node, Site

if TYPE_CHECKING:
    from tests.appliances.solidfire.cluster import Object

PROVIDER = CHECKOUT / "providers/solidfire"
TABLE = (*config.COMMON_OPTIONS, *SolidFireBackend.OPTIONS)
NAME = "0b1c9c4e-0000-4000-8000-000000000001.ext.disk0"
SIZE = 1024


class Array:
    """A cluster, its server, and the configuration with which a node asks it."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        self.directory = directory
        self.authority = authority
        data = directory / "data"
        data.mkdir()
        self.settings = Settings()
        self.cluster = Cluster(self.settings, Disks(data))
        self.certificate, key = authority.sign("127.0.0.1")
        self.front = Front(self.cluster, ("127.0.0.1", 0), self.certificate, key)
        self.front.start()
        self.password = directory / "password"
        self.password.write_text("secret\n")
        self.password.chmod(0o600)

    def options(self, **changes: str) -> dict[str, str]:
        """What a pool says; an option that is changed to ``-`` is left away."""
        told = {
            "address": "127.0.0.1",
            "port": str(self.front.port),
            "user": "admin",
            "password_file": str(self.password),
            "ca_file": str(self.authority.ca),
            "timeout": "100",
            "session_timeout": "1",
            **changes,
        }
        return {name: value for name, value in told.items() if value != "-"}

    def text(self, **changes: str) -> str:
        """A configuration file with one pool, gold."""
        return "[gold]\n" + "".join(f"{name} = {value}\n" for name, value in self.options(**changes).items())

    def backend(self, node: str = "node1", /, **changes: str) -> SolidFireBackend:
        """The backend in a call of a node."""
        configuration = Configuration("solidfire", "solidfire.conf", {"gold": self.options(**changes)})
        pool = configuration.pool("gold", TABLE, {})
        return SolidFireBackend(pool, node, Deadline(pool["timeout"]))

    def volume(self, name: str = NAME) -> Volume:
        """A new volume."""
        return self.backend().create_volume(name, SIZE)

    def volumes(self) -> list[Object]:
        """All that the cluster has, deleted ones too."""
        volumes: list[Object] = self.cluster.result("ListVolumes")["volumes"]
        return volumes

    def attach(self, volume: Volume, node: str, boot: str = "b1") -> Object:
        """Export a volume to a node that logs in; what the connection is."""
        data: Object = self.backend(node).initialize_connection(volume, properties(node, boot))["data"]
        secrets = data["auth_username"], data["auth_password"]
        sessions.login(self.cluster, initiator(node), data["target_iqn"], *secrets)
        return data

    def usernames(self) -> list[str]:
        """The accounts there are."""
        return [one["username"] for one in self.cluster.result("ListAccounts")["accounts"]]

    def calls(self) -> list[str]:
        """The methods that were called since this was asked last."""
        called = [method for method, _ in self.front.calls]
        self.front.calls.clear()
        return called

    def fault(self, kind: str, method: str, value: Any = None, times: int = 1, skip: int = 0) -> None:
        """Let something go wrong with calls of a method."""
        switch_on(self.front.faults, kind, method, value, times, skip)

    def stop(self) -> None:
        """Be silent."""
        self.front.stop()


def initiator(node: str) -> str:
    """The initiator's name of a node."""
    return f"iqn.1993-08.org.debian:01:{node}"


def properties(node: str, boot: str = "b1") -> dict[str, str]:
    """What the connector tells of a node."""
    return {"initiator": initiator(node), "boot": boot}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The tests' certificate authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def array(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Array]:
    """A cluster with the pool's account."""
    monkeypatch.setenv("EXTSTORAGE_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(element, "FIRST_PAUSE", 0.01)
    array = Array(tmp_path, authority)
    array.backend().initialize_pool()
    array.calls()
    yield array
    array.stop()


@pytest.fixture
def node(array: Array) -> Node:
    """A node that runs the provider's scripts."""
    directory = array.directory / "site"
    directory.mkdir()
    site = Site(directory)
    (site.config / "solidfire.conf").write_text(array.text())
    node = site.node("node1")
    node.provider = PROVIDER
    node.environment["EXTP_PROVIDER"] = "solidfire"
    return node
