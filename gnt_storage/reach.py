# SPDX-License-Identifier: Apache-2.0
"""Does the storage of an instance's disks answer?

Ganeti takes a disk that can't be attached for one that is gone, succeeds, and forgets the volume; so the
hooks ask first, on the node that would be asked.
"""

from __future__ import annotations

from extstorage_common.errors import Unreachable
from gnt_storage import ganeti, suite_provider, volumes
from gnt_storage.nodes import inventory, remote

COMMAND = ("env", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "gnt-storage", "hook", "reach")
SECONDS = 300.0


class StorageSilent(Unreachable):
    """A disk's storage does not answer, or its node does not."""

    template = "refused, since Ganeti would forget the disks of {instance}: {reason}"


def refuse_unreachable(instance: str) -> None:
    """Raise StorageSilent unless the storage of all ext disks of an instance answers on its node.

    Disks of other suites' providers are not looked at: nobody knows how to ask these.
    """
    disks = [disk for disk in ganeti.disks().values() if disk.instance == instance]
    if not disks:
        return
    (node,) = [node for node in inventory.of_cluster() if node.name == disks[0].node]
    if node.offline:
        reason = (
            f"its node {node.name} is marked offline; fail it over first: gnt-instance failover {instance}"
        )
        raise StorageSilent(instance=instance, reason=reason)
    words = [word for disk in disks for word in (disk.provider, disk.volume)]
    (answer,) = remote.run([node], [*COMMAND, *words], timeout=SECONDS)
    if answer.problem or answer.status:
        said = answer.stderr.decode(errors="backslashreplace").strip().splitlines() or ["no word"]
        raise StorageSilent(instance=instance, reason=f"{node.name}: {answer.problem or said[-1]}")


def ask(provider: str, volume: str) -> None:
    """Ask the storage, on this node, for a volume; that it is positively not there is an answer, too.

    Raises Unreachable and the like, NotFound for a provider that is not here.
    """
    own = suite_provider.find(provider)
    if not suite_provider.is_of_suite(own):
        return
    volumes.has(suite_provider.load(provider), volume)
