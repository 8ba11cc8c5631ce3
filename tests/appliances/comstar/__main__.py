# SPDX-License-Identifier: Apache-2.0
"""Starts the machine: ``python3 -m tests.appliances.comstar --help``."""

from __future__ import annotations

import sys

from tests.appliances.command import main_ssh
from tests.appliances.comstar.appliance import ComstarModel

sys.exit(main_ssh(ComstarModel, "A Solaris machine with ZFS and COMSTAR, modelled."))
