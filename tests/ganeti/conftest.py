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

pytest.register_assert_rewrite("tests.ganeti.instances", "tests.ganeti.providers", "tests.ganeti.stage")

from tests.ganeti.instances import Instance  # noqa: E402
from tests.ganeti.matrix import Matrix  # noqa: E402
from tests.ganeti.namespace_cluster import DIRECTORY, NamespaceCluster  # noqa: E402
from tests.ganeti.providers import PROVIDERS  # noqa: E402
from tests.ganeti.stage import Stage  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.ganeti.cluster import Cluster
    from tests.ganeti.providers import Provider

MATRIX = pytest.StashKey[Matrix]()
BROKEN = pytest.StashKey[bool]()
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> None:
    """Skip what cannot run here."""
    if os.geteuid() != 0:
        pytest.skip("making nodes needs root")


@pytest.fixture(scope="session")
def orderly() -> Iterator[None]:
    """Let SIGTERM end the session in order, with all that it has made."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def cluster(root: None, orderly: None) -> Iterator[Cluster]:
    """A Ganeti cluster with three nodes; its disk templates are ext, file, sharedfile and diskless."""
    directory = Path(os.environ.get("EXTSTORAGE_TEST_CLUSTER") or DIRECTORY)
    debs = [Path(name) for name in os.environ.get("EXTSTORAGE_TEST_DEBS", "").split(":") if name]
    if standing := NamespaceCluster.standing(directory):
        standing.on_all(lambda node: node.install(*debs))
        yield standing
    else:
        with NamespaceCluster(directory, debs=debs) as cluster:
            yield cluster


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own Debian package, built from this checkout."""
    build = [str(CHECKOUT / "debian/build"), str(tmp_path_factory.mktemp("package"))]
    return Path(subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


@pytest.fixture(autouse=True)
def leave_no_instance(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give each test that takes the cluster alone one without instances and with all nodes."""
    yield
    cluster = request.node.funcargs.get("cluster")
    if cluster and "stage" not in request.fixturenames:
        cluster.reset()


# --- our providers ----------------------------------------------------------------------------------


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.name, scope="session")
def provider(request: pytest.FixtureRequest, cluster: Cluster, package: Path) -> Iterator[Provider]:
    """Each provider in turn, installed on all nodes."""
    provider = request.param(cluster)
    provider.install(package)
    yield provider
    provider.uninstall()


@pytest.fixture(scope="session")
def stage(provider: Provider) -> Iterator[Stage]:
    """One stage for all tests with a provider, empty before and after."""
    stage = Stage(provider)
    yield stage
    stage.empty()


@pytest.fixture
def web(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Instance]:
    """An instance that runs under the fake hypervisor, alone; after the test it must run, on any node."""
    yield stage.running("fake")
    stage.end(request.node.stash.get(BROKEN, False))


@pytest.fixture
def machine(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Instance]:
    """The same under KVM."""
    yield stage.running("kvm")
    stage.end(request.node.stash.get(BROKEN, False))


@pytest.fixture
def new(stage: Stage, provider: Provider, request: pytest.FixtureRequest) -> Iterator[Instance]:
    """An instance to be made on the second node, and to be removed without a trace."""
    stage.empty()
    yield Instance(provider, "new", provider.cluster.nodes[1])
    stage.end(request.node.stash.get(BROKEN, False))


# --- reports ----------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Prepare the matrix, and order the tests: those with our providers come last, when these are installed.

    Of these, those follow each other that can share an instance.
    """
    config.stash.setdefault(MATRIX, Matrix()).expect(items)

    def place(item: pytest.Item) -> tuple[str, list[bool]]:
        provider = getattr(getattr(item, "callspec", None), "params", {}).get("provider")
        if not provider:
            return "", []
        fixtures = getattr(item, "fixturenames", ())
        return provider.name, [name in fixtures for name in ("new", "machine", "web")]

    items.sort(key=place)


@pytest.hookimpl(hookwrapper=True)  # type: ignore[untyped-decorator, unused-ignore]
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, object, None]:
    """Show the nodes' logs with a test that failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    item.config.stash[MATRIX].note(item, report)
    if report.failed:
        item.stash[BROKEN] = True
        if cluster := getattr(item, "funcargs", {}).get("cluster"):
            report.sections.append(("Ganeti", cluster.logs()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the matrix."""
    if lines := config.stash[MATRIX].lines():
        terminalreporter.section("Ganeti's commands")
        for line in lines:
            terminalreporter.write_line(line)
