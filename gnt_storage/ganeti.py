# SPDX-License-Identifier: Apache-2.0
"""What Ganeti knows of its cluster, from its own files: no daemon needs to run for it.

``config.data`` is the whole configuration, on master candidates; the ``ssconf_`` files are on every node.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from extstorage_common import paths
from extstorage_common.errors import ConfigurationError

CONFIGURATION = "config.data"


class BadClusterConfiguration(ConfigurationError):
    """Ganeti's own configuration can't be read."""

    template = "Ganeti's {file} can't be read: {reason}"


class NotMasterCandidate(ConfigurationError):
    """What only master candidates know is asked elsewhere."""

    template = "this node does not have Ganeti's configuration; run it on the cluster's master"


def configuration() -> dict[str, Any] | None:
    """Ganeti's configuration, or None on a node that has none. Raises BadClusterConfiguration."""
    file = os.path.join(paths.ssconf_dir(), CONFIGURATION)
    try:
        with open(file, encoding="utf-8") as stream:
            document: dict[str, Any] = json.load(stream)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise BadClusterConfiguration(file=file, reason=error) from error
    return document


@dataclass(frozen=True)
class Disk:
    """A disk of template ``ext``: its provider and its volume's name.

    ``instance``, ``index`` and ``node`` (its primary node's name) are ``""``, -1 and ``""`` for a disk that
    is detached from its instance.
    """

    provider: str
    volume: str
    instance: str = ""
    index: int = -1
    node: str = ""


def disks() -> dict[str, Disk]:
    """Every ext disk that Ganeti knows, by its volume. Raises NotMasterCandidate, BadClusterConfiguration."""
    known = configuration()
    if known is None:
        raise NotMasterCandidate
    nodes = {uuid: node["name"] for uuid, node in known["nodes"].items()}
    of_instance = {
        uuid: (instance["name"], index, nodes.get(instance["primary_node"], ""))
        for instance in known["instances"].values()
        for index, uuid in enumerate(instance["disks"])
    }
    found = {}
    for uuid, disk in known["disks"].items():
        if disk["dev_type"] == "ext":
            provider, volume = disk["logical_id"]
            found[volume] = Disk(provider, volume, *of_instance.get(uuid, ()))
    return found


def is_master() -> bool:
    """Whether this node is the cluster's master."""
    return paths.ssconf("master_node") == [paths.node_name()]


def node_group() -> str:
    """The node group of this node, as far as it can be known without asking the master.

    Ganeti tells every node which groups there are, but not which is whose; most clusters have one.
    """
    groups = paths.ssconf("nodegroups")
    return groups[0].partition(" ")[2] if len(groups) == 1 else "default"
