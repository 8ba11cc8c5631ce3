# SPDX-License-Identifier: Apache-2.0
"""The session's Ceph cluster; other directories of tests take the fixture from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ceph.cluster import Ceph

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A cluster for the session, with nothing but an empty pool ``rbd`` in the beginning."""
    with Ceph(tmp_path_factory.mktemp("ceph")) as ceph:
        yield ceph
