# SPDX-License-Identifier: Apache-2.0
"""A model of a SolidFire (NetApp Element) cluster: a state machine, and the HTTPS server in front of it.

``python3 -m tests.appliances.solidfire --help`` starts one for a person. What is not known for sure of the
real thing is a member of ``settings.Settings``.
"""

from __future__ import annotations

from tests.appliances.solidfire import accounts, groups, information, sessions, snapshots, volumes
from tests.appliances.solidfire.cluster import Cluster
from tests.appliances.solidfire.settings import Settings

__all__ = ["Cluster", "Settings", "accounts", "groups", "information", "sessions", "snapshots", "volumes"]
