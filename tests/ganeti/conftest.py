# SPDX-License-Identifier: Apache-2.0
"""The cluster that the tests here run on: three nodes, hypervisors fake and kvm, one for the whole session.

Environment: EXTSTORAGE_TEST_CLUSTER is its directory (two sessions at once need two), EXTSTORAGE_TEST_DEBS
the packages to install in the nodes, separated by colons. A cluster that ``tests/ganeti/cluster up`` left
running there is used as it is, and left running.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ganeti.cluster import DIRECTORY, Cluster

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> None:
    """Skip what cannot run here."""
    if os.geteuid() != 0:
        pytest.skip("making nodes needs root")


@pytest.fixture(scope="session")
def cluster(root: None) -> Iterator[Cluster]:
    """A Ganeti cluster with three nodes; its disk templates are ext, file, sharedfile and diskless."""
    directory = Path(os.environ.get("EXTSTORAGE_TEST_CLUSTER") or DIRECTORY)
    debs = [Path(name) for name in os.environ.get("EXTSTORAGE_TEST_DEBS", "").split(":") if name]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end in order
    try:
        if standing := Cluster.standing(directory):
            standing.on_all(lambda node: node.install(*debs))
            yield standing
        else:
            with Cluster(directory, debs=debs) as cluster:
                yield cluster
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own Debian package, built from this checkout."""
    build = [str(CHECKOUT / "debian/build"), str(tmp_path_factory.mktemp("package"))]
    return Path(subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


@pytest.fixture(autouse=True)
def leave_no_instance(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give each test the cluster without instances and with all nodes."""
    yield
    if cluster := request.node.funcargs.get("cluster"):
        cluster.reset()


@pytest.hookimpl(hookwrapper=True)  # type: ignore[untyped-decorator, unused-ignore]
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, object, None]:
    """Show the nodes' logs with a test that failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if cluster and report.failed:
        report.sections.append(("Ganeti", cluster.logs()))
