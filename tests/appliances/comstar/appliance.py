# SPDX-License-Identifier: Apache-2.0
"""The machine as an appliance that can be started, and that exports what it says that it does."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.appliances.comstar.machine import TARGETS, ZFS, Comstar, Trouble
from tests.appliances.luns import Access, Login, Lun, Target
from tests.appliances.model import Answer, ShellModel

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from tests.appliances.comstar import iscsi
    from tests.appliances.comstar.stmf import Unit


class ComstarModel(ShellModel):
    """A machine behind SSH, whose targets another machine may log in to."""

    NAME = "comstar"
    READS_INPUT = True
    machine: Comstar
    begin: Callable[[], Comstar]

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--pool", default="tank", help="the ZFS pool's name (default: %(default)s)")
        parser.add_argument("--size", type=int, default=4096, help="its size in MiB (default: %(default)s)")

    def configure(self, options: argparse.Namespace) -> None:
        users: dict[str, tuple[str, ...]] = {options.user: (ZFS[0], TARGETS[0])}
        self.begin = lambda: Comstar(self.directory, {options.pool: options.size << 20}, users)
        self.control_reset()

    def execute_with_input(self, user: str, line: str, stdin: bytes) -> Answer:
        return Answer(**asdict(self.machine.execute(user, line, stdin)))

    def _sessions(self, iqn: str) -> list[str]:
        return [initiator for target, initiator in self.exporter.sessions() if target == iqn]

    # --- what it exports --------------------------------------------------------------------------

    def targets(self) -> list[Target]:
        """The targets that are online, each with the initiators that can log in, and what they see."""
        if self.machine.iscsi.status != "online" or self.machine.stmf.status != "online":
            return []
        return [self._target(one) for one in self.machine.iscsi.targets.values() if one.online]

    def _target(self, target: iscsi.Target) -> Target:
        state = self.machine.iscsi
        groups = [portal for tpg in target.tpgs for portal in state.tpgs[tpg]]
        portals = tuple(groups) if target.tpgs else self.portals
        known = {
            *state.initiators,
            *(one for members in self.machine.stmf.host_groups.values() for one in members),
        }
        initiators = {}
        for initiator in sorted(known):
            login = self._login(target, initiator)
            if login is None and state.auth(target) == "chap":
                continue
            seen = self.machine.stmf.seen(initiator, target.iqn)
            luns = {number: self._lun(unit) for number, unit in seen.items()}
            initiators[initiator] = Access(luns, login)
        return Target(target.iqn, portals, initiators)

    def _login(self, target: iscsi.Target, initiator: str) -> Login | None:
        state = self.machine.iscsi
        told = state.initiators.get(initiator)
        if state.auth(target) != "chap" or told is None or not told.secret:
            return None
        user = told.user or initiator
        return Login(user, told.secret, target.user or target.iqn if target.secret else "", target.secret)

    def _lun(self, unit: Unit) -> Lun:
        volume = self.machine.stmf.volume(unit)
        assert volume
        read_only = unit.properties.get("wp") == "true"
        return Lun(self.machine.datasets.file(volume), unit.guid, "SUN", "COMSTAR", read_only)

    # --- orders -----------------------------------------------------------------------------------

    def control_reset(self) -> None:
        """Begin anew, with an empty pool."""
        self.machine = self.begin()
        self.machine.iscsi.sessions = self._sessions
        self.machine.changed = lambda: self.exporter.publish(self.targets())
        self.machine.changed()

    def control_trouble(self, **trouble: Any) -> None:
        """Let commands fail (see machine.Trouble)."""
        self.machine.troubles.append(Trouble(**trouble))

    def control_run(self, line: str) -> dict[str, Any]:
        """Run a line as root."""
        return asdict(self.machine.execute("root", line))

    def control_seen(self) -> list[list[str]]:
        """The words of each command since the last time."""
        seen, self.machine.seen = self.machine.seen, []
        return [one.words for one in seen]

    def control_service(self, service: str, status: str) -> None:
        """Let a service (``stmf`` or ``iscsi``) be in another state."""
        getattr(self.machine, service).status = status

    def control_faults(self) -> int:
        """How many faults are still to come."""
        return len(self.faults.faults)

    def control_says_auto(self) -> None:
        """Be a build that does not tell the numbers of LUNs that COMSTAR chose."""
        self.machine.stmfadm.says_auto = True

    def control_odd(self) -> list[str]:
        """Lines that were more to a shell than what is written there."""
        return self.machine.odd

    def control_files(self) -> list[str]:
        """The files of the machine."""
        return sorted(self.machine.files)

    def control_login(self, target: str, initiator: str) -> None:
        """Pretend that an initiator is logged in, where nothing is really exported."""
        self.exporter.logged_in.append((target, initiator))  # type: ignore[attr-defined]
