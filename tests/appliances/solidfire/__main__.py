# SPDX-License-Identifier: Apache-2.0
"""Starts the cluster: ``python3 -m tests.appliances.solidfire --help``."""

from __future__ import annotations

import sys

from tests.appliances.solidfire.appliance import main

sys.exit(main())
