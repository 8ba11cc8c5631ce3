# SPDX-License-Identifier: Apache-2.0
"""A modelled cluster of its own for each test, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.appliances.solidfire import Cluster, Settings
from tests.appliances.solidfire.certificates import Authority
from tests.appliances.solidfire.disks import Disks
from tests.appliances.solidfire.errors import ElementError
from tests.appliances.solidfire.front import Front

if TYPE_CHECKING:
    from tests.appliances.solidfire.cluster import Object

GB = 10**9
NODE1 = "iqn.1993-08.org.debian:01:node1"
NODE2 = "iqn.1993-08.org.debian:01:node2"


class Bench:
    """A cluster and its clock, with an account to make volumes in."""

    def __init__(self, directory: Path) -> None:
        self.time = 1_800_000_000.0
        self.settings = Settings()
        self.cluster = Cluster(self.settings, Disks(directory), lambda: self.time)
        self.account: int = self.ok("AddAccount", username="owner")["accountID"]

    def ok(self, method: str, /, **parameters: object) -> Object:
        """The result of a call that must succeed."""
        return self.cluster.result(method, **parameters)

    def fails(self, error: str, method: str, /, **parameters: object) -> str:
        """The message of a call that must fail with this error."""
        with pytest.raises(ElementError) as caught:
            self.cluster.result(method, **parameters)
        assert caught.value.name == error
        assert caught.value.answer()["code"] == 500
        return caught.value.message

    def volume(self, name: str = "v1", size: int = GB, **parameters: object) -> Object:
        """A new volume."""
        told = {"name": name, "accountID": self.account, "totalSize": size, "enable512e": True}
        volume: Object = self.ok("CreateVolume", **told, **parameters)["volume"]
        return volume

    def look(self, number: int) -> Object | None:
        """A volume as it is listed now."""
        found = self.ok("ListVolumes", volumeIDs=[number])["volumes"]
        return found[0] if found else None

    def group(self, initiator: str, *volumes: int) -> int:
        """A new access group of one initiator."""
        told = {"name": "group", "initiators": [initiator], "volumes": list(volumes)}
        number: int = self.ok("CreateVolumeAccessGroup", **told)["volumeAccessGroupID"]
        return number


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A cluster without a server."""
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The tests' certificate authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def front(bench: Bench, authority: Authority) -> Iterator[Front]:
    """The cluster behind its server."""
    front = Front(bench.cluster, ("127.0.0.1", 0), *authority.sign("127.0.0.1"))
    front.start()
    yield front
    front.stop()
