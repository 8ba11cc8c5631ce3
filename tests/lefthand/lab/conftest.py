# SPDX-License-Identifier: Apache-2.0
"""A modelled array in a lab; each test finds it empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.appliances.running import InLab
from tests.lab.calls import compile_libraries
from tests.lab.lab import Lab
from tests.lefthand.lab.nodes import LabSite, LefthandNode


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A storage node and two compute nodes, which see compiled modules."""
    compile_libraries()
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as lab:
        yield lab


@pytest.fixture(scope="session")
def exporting(lab: Lab) -> Iterator[InLab]:
    """The array, with one virtual address; it exports at another one, too."""
    array = InLab("lefthand", lab, "--vips 10.78.1.10", portals="10.78.1.10:3260,10.78.2.10:3260")
    yield array
    array.stop()


@pytest.fixture
def site(lab: Lab, exporting: InLab) -> Iterator[LabSite]:
    """The array with nothing on it."""
    site = LabSite(lab, exporting)
    yield site
    site.clean()


@pytest.fixture
def n1(site: LabSite) -> LefthandNode:
    """The first node."""
    return site.nodes[0]


@pytest.fixture
def n2(site: LabSite) -> LefthandNode:
    """The second node."""
    return site.nodes[1]
