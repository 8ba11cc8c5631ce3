# SPDX-License-Identifier: Apache-2.0
"""The cluster as an appliance that can be started, and that exports its volumes."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from tests.appliances import command
from tests.appliances.luns import Access, Login, Lun, Target
from tests.appliances.model import Model
from tests.appliances.solidfire import sessions
from tests.appliances.solidfire.certificates import Authority, fingerprint
from tests.appliances.solidfire.cluster import Cluster
from tests.appliances.solidfire.disks import Disks
from tests.appliances.solidfire.faults import switch_on
from tests.appliances.solidfire.front import Front
from tests.appliances.solidfire.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tests.appliances.solidfire.cluster import Object


class SolidFireModel(Model):
    """A cluster behind HTTPS, whose volumes initiators may log in to."""

    NAME = "solidfire"
    cluster: Cluster
    settings: Settings

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--login", default="admin", help="its administrator (default: %(default)s)")
        parser.add_argument("--password", default="secret", help="the password (default: %(default)s)")
        parser.add_argument("--clone-seconds", type=float, default=0.0, help="how long a copy takes")

        parser.add_argument("--least-size", type=int, default=10**9, help="bytes of the smallest volume")

    def configure(self, options: argparse.Namespace) -> None:
        address = self.portals[0].rpartition(":")[0]
        self.settings = Settings(
            login=options.login,
            password=options.password,
            clone_seconds=options.clone_seconds,
            svip=address,
        )
        self.settings.limits["volumeSizeMin"] = options.least_size
        self.cluster = Cluster(self.settings, Disks(self.directory))
        self.cluster.lock = self.lock
        self.cluster.changed = lambda: self.exporter.publish(self.targets())
        self.cluster.look_at_sessions = self._look_at_sessions

    # --- what it exports --------------------------------------------------------------------------

    def targets(self) -> list[Target]:
        """The volumes that some access group lets an initiator reach.

        Whoever knows the secret of the account reaches a volume, too, by any name; the kernel's target wants
        names, so that way is not exported.
        """
        found = [
            self._target(volume) for volume in self.cluster.volumes.values() if sessions.is_served(volume)
        ]
        return [target for target in found if target.initiators]

    def _target(self, volume: Object) -> Target:
        backing = self.cluster.disks.path(volume["volumeID"])
        read_only = volume["access"] == "readOnly"
        lun = Lun(backing, volume["scsiNAADeviceID"], "SolidFir", "SSD SAN", read_only)
        members = sessions.members(self.cluster, volume)
        initiators = {one["initiatorName"]: Access({0: lun}, _login(one)) for one in members}
        return Target(volume["iqn"], self.portals, initiators)

    def _look_at_sessions(self) -> None:
        """Let the cluster's sessions be those that the kernel has."""
        volumes = {volume["iqn"]: volume for volume in self.cluster.volumes.values()}
        self.cluster.sessions.clear()
        for iqn, initiator in self.exporter.sessions():
            if iqn in volumes:
                sessions.add(self.cluster, initiator, volumes[iqn])

    # --- orders -----------------------------------------------------------------------------------

    def control_call(self, method: str, **parameters: Any) -> Any:
        """A call of the API by somebody else."""
        return self.cluster.result(method, **parameters)

    def control_fault(self, **fault: Any) -> None:
        """Switch a fault on (see faults.py)."""
        switch_on(self.faults, **fault)

    def control_set(self, **settings: Any) -> None:
        """Change settings."""
        for name, value in settings.items():
            setattr(self.settings, name, value)

    def control_clear(self) -> None:
        """Begin anew, with nothing."""
        self.faults.clear()
        for table in ("accounts", "volumes", "snapshots", "groups", "initiators", "asyncs", "sessions"):
            getattr(self.cluster, table).clear()
        self.cluster.changed()
        for file in [*self.directory.glob("volume-*"), *self.directory.glob("snapshot-*")]:
            file.unlink()


def _login(initiator: Object) -> Login | None:
    """What the cluster asks of an initiator, and answers if that asks it."""
    if not initiator.get("requireChap"):
        return None
    user = initiator["chapUsername"]
    return Login(user, initiator["initiatorSecret"], user, initiator["targetSecret"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a cluster until it is interrupted."""
    made = command.parser(SolidFireModel, "A SolidFire cluster, modelled: the Element API over HTTPS.")
    options = made.parse_args(arguments)
    model = command.create(SolidFireModel, options)
    address, _, port = options.listen.rpartition(":")
    authority = Authority(options.directory / "authority")
    certificate, key = authority.sign(address)
    front = Front(model.cluster, (address, int(port)), certificate, key, model)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    front.start()
    ca = authority.ca.read_text()
    command.announce(port=front.port, certificate=ca, fingerprint=fingerprint(certificate))
    ended.wait()
    front.stop()
    model.exporter.publish([])
    return 0
