# SPDX-License-Identifier: Apache-2.0
"""The cluster that the tests here run on: two nodes with kernels of their own, and one with the storage.

What is not here, is in the conftest of the tests above. EXTSTORAGE_TEST_GANETI_LAB is the cluster's directory
(two sessions at once need two). A cluster that ``up`` left running there is used as it is, and left running.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ganeti.lab.cluster import LabCluster
from tests.ganeti.lab.providers import FULL, SHORT
from tests.ganeti.stage import Stage
from tests.lab.lab import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ganeti.providers import Provider


@pytest.fixture(scope="session")
def cluster(root: None, orderly: None) -> Iterator[LabCluster]:
    """A Ganeti cluster with two nodes that have kernels; its first node is the master."""
    directory = Path(os.environ.get("EXTSTORAGE_TEST_GANETI_LAB") or DIRECTORY)
    if standing := LabCluster.standing(directory):
        yield standing
    else:
        with LabCluster(directory) as cluster:
            yield cluster


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the rows of the matrix for some providers, the shortest way through all for the others."""
    if "provider" in metafunc.fixturenames:
        providers = SHORT if metafunc.function.__name__ == "test_golden" else FULL
        names = [provider.name for provider in providers]
        metafunc.parametrize("provider", providers, indirect=True, scope="session", ids=names)


@pytest.fixture(scope="session")
def provider(request: pytest.FixtureRequest, cluster: LabCluster, package: Path) -> Iterator[Provider]:
    """Each provider in turn, installed on all nodes and on the storage machine."""
    provider = request.param(cluster)
    provider.install(package)
    yield provider
    provider.uninstall()


@pytest.fixture(scope="session")
def stage(provider: Provider) -> Iterator[Stage]:
    """One stage for all tests with a provider of this cluster, empty before and after."""
    stage = Stage(provider)
    yield stage
    stage.empty()
