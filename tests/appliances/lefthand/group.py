# SPDX-License-Identifier: Apache-2.0
"""A management group: what it has, and what may be done with it in which state."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tests.appliances.lefthand.answers import Element
from tests.appliances.lefthand.codes import NOTHING_DONE, SUCCESS, CliqError, Code
from tests.appliances.lefthand.facts import Facts
from tests.appliances.lefthand.objects import Cluster, Disk, Permission, Server, Snapshot, Volume

FORBIDDEN = set(';="') | set(map(chr, range(33)))


def nobody(target: str) -> list[str]:
    """The initiators that are logged in to a target, where nothing is exported."""
    return []


class ManagementGroup:
    """The state machine; ``directory`` has the disks' files, ``sessions`` tells who is logged in where."""

    def __init__(
        self,
        facts: Facts,
        directory: Path,
        sessions: Callable[[str], list[str]] = nobody,
    ) -> None:
        self.facts = facts
        self.directory = directory
        self.sessions = sessions
        self.volumes: dict[str, Volume] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.servers: dict[str, Server] = {}
        first = Cluster(facts.cluster, facts.nodes, facts.vips, facts.space)
        others = [Cluster(name, facts.nodes, facts.vips, facts.space) for name in facts.other_clusters]
        self.clusters = {cluster.name: cluster for cluster in (first, *others)}
        self._last_id = 24

    # --- finding ----------------------------------------------------------------------------------

    def volume(self, name: str) -> Volume:
        """A volume. Raises CliqError with the code of one that is not there."""
        if name not in self.volumes:
            raise self._not_found(self.facts.volume_not_found, "Volume", name)
        return self.volumes[name]

    def usable(self, name: str) -> Volume:
        """A volume that something can be done with, which is not being deleted."""
        volume = self.volume(name)
        if volume.is_deleting:
            raise self._refusal(f"Volume '{name}' is being deleted.")
        return volume

    def tell(self, name: str) -> Element:
        """What is told of a volume; of one that is being deleted, only so often."""
        volume = self.volume(name)
        if volume.is_deleting:
            if not volume.looks:
                del self.volumes[name]
                return self.tell(name)
            volume.looks -= 1
        return volume.element()

    def snapshot(self, name: str) -> Snapshot:
        """A snapshot."""
        if name not in self.snapshots:
            raise self._not_found(self.facts.snapshot_not_found, "Snapshot", name)
        return self.snapshots[name]

    def server(self, name: str) -> Server:
        """A server."""
        if name not in self.servers:
            raise self._not_found(self.facts.server_not_found, "Server", name)
        return self.servers[name]

    def cluster(self, name: str) -> Cluster:
        """A cluster."""
        if name not in self.clusters:
            raise self._not_found(self.facts.generic, "Cluster", name)
        return self.clusters[name]

    def snapshots_of(self, volume: Volume) -> list[Snapshot]:
        """The snapshots of a volume."""
        return [one for one in self.snapshots.values() if one.volume is volume]

    def clones_of(self, snapshot: Snapshot) -> list[Volume]:
        """The volumes that make a snapshot a clone point."""
        return [one for one in self.volumes.values() if one.parent is snapshot]

    def disks(self) -> list[Disk]:
        """All that has a target."""
        return [*self.volumes.values(), *self.snapshots.values()]

    def free(self, cluster: Cluster) -> int:
        """Bytes of a cluster that no volume has reserved."""
        reserved = [
            one.size * one.replication
            for one in self.volumes.values()
            if one.cluster == cluster.name and not one.thin
        ]
        return cluster.space - sum(reserved)

    # --- volumes ----------------------------------------------------------------------------------

    def create_volume(
        self, name: str, cluster: str, size: int, description: str, thin: bool, replication: int
    ) -> None:
        """Make a volume, which reads as zeros."""
        found = self.cluster(cluster)
        self._check_new("Volume", name, self.volumes)
        self._check_description(description)
        if size < 262144:
            raise self._refusal(f"The size of volume '{name}' is too small.")
        if replication > len(found.nodes):
            raise self._refusal(f"Cluster '{cluster}' has too few storage nodes for that replication.")
        if not thin and size * replication > self.free(found):
            raise self._refusal(self.facts.no_space_text.format(cluster=cluster))
        told = self._new_disk(name, cluster, size, description, replication)
        self.volumes[name] = Volume(**told, thin=thin)
        with self.volumes[name].file.open("xb") as stream:
            stream.truncate(size)

    def modify_volume(self, name: str, size: int | None, description: str | None) -> Code:
        """Give a volume another size (also a smaller one) or description."""
        volume = self.usable(name)
        if (size, description) in ((None, None), (volume.size, None)):
            return NOTHING_DONE
        if description is not None:
            self._check_description(description)
        if size is not None:
            cluster = self.clusters[volume.cluster]
            more = (size - volume.size) * volume.replication
            if not volume.thin and more > self.free(cluster):
                raise self._refusal(self.facts.no_space_text.format(cluster=cluster.name))
            volume.size = size
            with volume.file.open("r+b") as stream:
                stream.truncate(size)
        if description is not None:
            volume.description = description
        return SUCCESS

    def delete_volume(self, name: str) -> None:
        """Delete a volume that nothing needs."""
        volume = self.usable(name)
        snapshots = self.snapshots_of(volume)
        points = [one.name for one in snapshots if self.clones_of(one)]
        if points:
            text = f"Volume '{name}' cannot be deleted because its snapshot '{points[0]}' is a clone point."
            raise self._refusal(text)
        if snapshots and not self.facts.deletes_snapshots_with_volume:
            raise self._refusal(f"Volume '{name}' cannot be deleted because it has snapshots.")
        self._check_unused(volume)
        for snapshot in snapshots:
            del self.snapshots[snapshot.name]
        volume.permissions = []
        volume.is_deleting, volume.looks = True, self.facts.deletion_looks
        if not volume.looks:
            del self.volumes[name]

    # --- snapshots --------------------------------------------------------------------------------

    def create_snapshot(self, volume: str, name: str, description: str, inherit_access: bool) -> None:
        """Keep a volume's content of this moment."""
        origin = self.usable(volume)
        self._check_new("Snapshot", name, self.snapshots)
        self._check_description(description)
        told = self._new_disk(name, origin.cluster, origin.size, description, origin.replication)
        snapshot = Snapshot(**told, volume=origin)
        if inherit_access:
            snapshot.permissions = [
                Permission(self._next_id(), one.server, one.access) for one in origin.permissions
            ]
        self._copy(origin, snapshot)
        self.snapshots[name] = snapshot

    def clone_snapshot(self, snapshot: str, name: str, description: str) -> None:
        """Make a volume of a snapshot, which becomes a clone point by it."""
        origin = self.snapshot(snapshot)
        self._check_new("Volume", name, self.volumes)
        self._check_description(description)
        told = self._new_disk(name, origin.cluster, origin.size, description, origin.replication)
        clone = Volume(**told, thin=True, parent=origin)
        self._copy(origin, clone)
        self.volumes[name] = clone

    def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot that is no clone point."""
        snapshot = self.snapshot(name)
        if self.clones_of(snapshot):
            raise self._refusal(f"Snapshot '{name}' cannot be deleted because it is a clone point.")
        self._check_unused(snapshot)
        del self.snapshots[name]

    # --- servers ----------------------------------------------------------------------------------

    def create_server(self, server: Server) -> None:
        """Register a machine. An initiator's name may be in one server only."""
        self._check_new("Server", server.name, self.servers)
        for other in self.servers.values():
            if other.initiator == server.initiator:
                raise self._refusal(
                    f"Initiator '{server.initiator}' already exists in server '{other.name}'."
                )
        secrets = [secret for secret in (server.target_secret, server.initiator_secret) if secret]
        if any(len(secret) < self.facts.chap_length for secret in secrets):
            raise self._refusal(f"A CHAP secret must have at least {self.facts.chap_length} characters.")
        self.servers[server.name] = server

    def delete_server(self, name: str) -> None:
        """Forget a machine, and what it may reach."""
        server = self.server(name)
        for disk in self.disks():
            disk.permissions = [one for one in disk.permissions if one.server is not server]
        del self.servers[name]

    def assign_to_server(self, volume: str, server: str, access: str) -> Code:
        """Let a server reach a volume, too."""
        disk, found = self.usable(volume), self.server(server)
        if any(one.server is found for one in disk.permissions):
            return NOTHING_DONE if self.facts.repeated_assignment_is_nothing_done else SUCCESS
        disk.permissions.append(Permission(self._next_id(), found, access))
        return SUCCESS

    def unassign_from_server(self, volume: str, server: str) -> Code:
        """Let a server reach a volume no more."""
        disk, found = self.volume(volume), self.server(server)
        left = [one for one in disk.permissions if one.server is not found]
        if len(left) == len(disk.permissions):
            return NOTHING_DONE
        disk.permissions = left
        return SUCCESS

    def assign(self, volume: str, servers: list[Server], access: str) -> None:
        """Let these reach a volume, and nobody else: what was assigned before is replaced."""
        disk = self.usable(volume)
        disk.permissions = [Permission(self._next_id(), one, access) for one in servers]

    def unassign(self, volume: str) -> None:
        """Let nobody reach a volume."""
        self.volume(volume).permissions = []

    # --- helpers ----------------------------------------------------------------------------------

    def _refusal(self, text: str) -> CliqError:
        return CliqError(self.facts.generic, text)

    def _not_found(self, code: Code, kind: str, name: str) -> CliqError:
        return CliqError(code, f"{kind} '{name}' not found{'.' if self.facts.full_stop else ''}")

    def _check_new(self, kind: str, name: str, known: Collection[str]) -> None:
        if not 1 <= len(name) <= self.facts.name_length or FORBIDDEN & set(name):
            raise self._refusal(f"'{name}' is not a valid name.")
        # A volume and a snapshot may not share a name, either.
        if name in known or (kind != "Server" and (name in self.volumes or name in self.snapshots)):
            raise self._refusal(self.facts.exists_text.format(kind=kind, name=name))

    def _check_description(self, text: str) -> None:
        if len(text) > self.facts.description_length:
            raise self._refusal(f"The description has more than {self.facts.description_length} characters.")

    def _check_unused(self, disk: Disk) -> None:
        if self.facts.refuses_deletion_in_use and self.sessions(disk.iqn):
            raise self._refusal(self.facts.in_use_text.format(name=disk.name))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _new_disk(
        self, name: str, cluster: str, size: int, description: str, replication: int
    ) -> dict[str, Any]:
        number = self._next_id()
        return {
            "name": name,
            "id": number,
            "group": self.facts.group,
            "cluster": cluster,
            "size": -(-size // 262144) * 262144,
            "description": description,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "replication": replication,
            "file": self.directory / str(number),
        }

    @staticmethod
    def _copy(origin: Disk, copy: Disk) -> None:
        command = ["cp", "--reflink=auto", "--sparse=always", str(origin.file), str(copy.file)]
        subprocess.run(command, check=True)
