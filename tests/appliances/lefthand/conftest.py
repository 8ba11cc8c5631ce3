# SPDX-License-Identifier: Apache-2.0
"""An array for each test."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliances.lefthand.client import Client, client

Install = Callable[..., Client]


@pytest.fixture
def array(tmp_path: Path) -> Client:
    """The array as the reference has it."""
    return client(tmp_path)


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Makes an array of which certain facts are so."""

    def made(**facts: object) -> Client:
        directory = tmp_path / os.urandom(4).hex()
        directory.mkdir()
        return client(directory, **facts)

    return made
