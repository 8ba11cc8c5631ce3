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
from tests.lab.lab import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster(root: None, orderly: None) -> Iterator[LabCluster]:
    """A Ganeti cluster with two nodes that have kernels; its first node is the master."""
    directory = Path(os.environ.get("EXTSTORAGE_TEST_GANETI_LAB") or DIRECTORY)
    if standing := LabCluster.standing(directory):
        yield standing
    else:
        with LabCluster(directory) as cluster:
            yield cluster
