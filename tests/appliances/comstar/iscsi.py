# SPDX-License-Identifier: Apache-2.0
"""The state of COMSTAR's iSCSI target service: targets, portal groups, initiators and their secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Target:
    """A target. ``auth`` is ``none``, ``chap``, ``radius`` or ``default``; no ``tpgs``: all addresses."""

    iqn: str
    alias: str = ""
    auth: str = "default"
    user: str = ""
    secret: str = ""
    tpgs: list[str] = field(default_factory=list)
    online: bool = True


@dataclass
class Initiator:
    """What is known of an initiator; without ``user`` its name is."""

    iqn: str
    user: str = ""
    secret: str = ""


class Iscsi:
    """All of it. ``sessions`` tells the initiators that are logged in at a target."""

    status = "online"
    """Of ``svc:/network/iscsi/target:default``."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}
        self.tpgs: dict[str, list[str]] = {}
        """The portals of each portal group, ``address:port``."""
        self.initiators: dict[str, Initiator] = {}
        self.default_auth = "none"
        self.radius = ""
        self.sessions: Callable[[str], list[str]] = lambda iqn: []

    def is_online(self, iqn: str) -> bool:
        """Whether there is such a target, online."""
        return iqn in self.targets and self.targets[iqn].online

    def auth(self, target: Target) -> str:
        """What an initiator must prove at a target."""
        return self.default_auth if target.auth == "default" else target.auth
