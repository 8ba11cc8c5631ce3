# SPDX-License-Identifier: Apache-2.0
"""A lab for the tests of the lab itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A storage node and two compute nodes."""
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as lab:
        yield lab


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a test may make a lab of its own."""
    return tmp_path / "lab"
