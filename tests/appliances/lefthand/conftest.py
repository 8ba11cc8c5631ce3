# SPDX-License-Identifier: Apache-2.0
"""An array for each test."""

from __future__ import annotations

import pytest

from tests.appliances.lefthand.client import Client, client


@pytest.fixture
def array() -> Client:
    """The array as the reference has it."""
    return client()
