# SPDX-License-Identifier: Apache-2.0
"""A lab for what is exported for real."""

from tests.lab.conftest import lab

__all__ = ["lab"]
