# SPDX-License-Identifier: Apache-2.0
"""Which nodes there are: from Ganeti's files, or from a list where there is no Ganeti."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extstorage_common import paths
from extstorage_common.errors import BadRequest, NotFound
from gnt_storage import ganeti

UNKNOWN_GROUP = "-"
SSH_PORT = 22


class UnknownName(NotFound):
    """No node or group has this name."""

    template = "there is no {kind} {name}{hint}"


class BadNodesFile(BadRequest):
    """The list of nodes can't be used."""

    template = "{file}, line {line}: {reason}"


class NodesFileUnreadable(BadRequest):
    """The list of nodes can't be read."""

    template = "{file} can't be read: {reason}"


class NoCluster(BadRequest):
    """Nobody says which nodes there are."""

    template = "this node is in no Ganeti cluster; name nodes with --node or --nodes-file"


@dataclass(frozen=True)
class Node:
    """A node: its name, and how it is reached.

    ``group`` is its node group's name, ``-`` where that is not known; ``uuid`` is Ganeti's, or ``""``.
    """

    name: str
    address: str
    group: str = UNKNOWN_GROUP
    offline: bool = False
    master: bool = False
    port: int = SSH_PORT
    uuid: str = ""
    vm_capable: bool = True

    @property
    def why_not_asked(self) -> str:
        """Why a provider on it is nobody's concern now; ``""`` for a node that may use volumes."""
        if self.offline:
            return "is marked offline"
        return "" if self.vm_capable else "runs no instances (not vm_capable)"

    @property
    def is_local(self) -> bool:
        """Whether it is this very node."""
        return self.name == paths.node_name()


def choose(
    nodes: Sequence[str] = (), groups: Sequence[str] = (), nodes_file: str | None = None
) -> list[Node]:
    """The nodes of these names and groups; without any, all there are.

    Raises UnknownName; NoCluster where neither Ganeti nor a file says which nodes there are, unless they
    are named; NotMasterCandidate where Ganeti tells only others which node is in which group; BadNodesFile.
    """
    if nodes_file is not None:
        known = read_nodes_file(nodes_file)
    else:
        known = of_cluster()
        if not known and nodes and not groups:
            return [Node(name, name) for name in dict.fromkeys(nodes)]
        if not known:
            raise NoCluster
    _refuse_unknown("node", nodes, [node.name for node in known])
    empty = [] if nodes_file else group_names()
    _refuse_unknown("node group", groups, {node.group for node in known}.union(empty))
    if any(group in empty for group in groups) and any(node.group == UNKNOWN_GROUP for node in known):
        raise ganeti.NotMasterCandidate
    if not nodes and not groups:
        return known
    return [node for node in known if node.name in nodes or node.group in groups]


def _refuse_unknown(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UnknownName(kind=kind, name=name, hint=f"; is {near[0]} meant?" if near else "")


def of_cluster() -> list[Node]:
    """The nodes of this node's Ganeti cluster, by name; none where there is no Ganeti.

    Raises BadClusterConfiguration.
    """
    configuration = ganeti.configuration()
    ports = {name: int(port) for name, _, port in (line.partition("=") for line in paths.ssconf("ssh_ports"))}
    master = paths.ssconf("master_node")
    if configuration is None:
        return _of_ssconf(ports, master)
    groups = configuration["nodegroups"]
    nodes = [
        Node(
            one["name"],
            one["primary_ip"],
            groups[one["group"]]["name"],
            one["offline"],
            [one["name"]] == master,
            ports.get(one["name"], SSH_PORT),
            one["uuid"],
            one["vm_capable"],
        )
        for one in configuration["nodes"].values()
    ]
    return sorted(nodes, key=lambda node: node.name)


def group_names() -> list[str]:
    """The cluster's node groups, also those that have no node."""
    return [line.partition(" ")[2] for line in paths.ssconf("nodegroups")]


def _of_ssconf(ports: dict[str, int], master: list[str]) -> list[Node]:
    """What a node knows that is no master candidate: all but which node is in which of several groups."""
    groups = group_names()
    group = groups[0] if len(groups) == 1 else UNKNOWN_GROUP
    offline = paths.offline_nodes()
    incapable = [
        line.removesuffix("=False") for line in paths.ssconf("node_vm_capable") if line.endswith("=False")
    ]
    addresses = dict(line.split(" ", 1) for line in paths.ssconf("node_primary_ips"))
    return [
        Node(
            name,
            address,
            group,
            name in offline,
            [name] == master,
            ports.get(name, SSH_PORT),
            vm_capable=name not in incapable,
        )
        for name, address in sorted(addresses.items())
    ]


def read_nodes_file(file: str) -> list[Node]:
    """The nodes of a list: a line has a name, and may have an address and a group; # begins a comment.

    Raises BadNodesFile, NodesFileUnreadable.
    """
    try:
        with open(file, encoding="utf-8") as stream:
            lines = stream.read().split("\n")
    except (OSError, ValueError) as error:
        raise NodesFileUnreadable(file=file, reason=error) from error
    nodes: dict[str, Node] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if len(words) > 3:
            raise BadNodesFile(file=file, line=number, reason="a name, an address and a group are expected")
        if words and words[0] in nodes:
            raise BadNodesFile(file=file, line=number, reason=f"{words[0]} is there twice")
        for what, word in zip(("name", "address"), words, strict=False):
            if word.startswith("-"):
                raise BadNodesFile(file=file, line=number, reason=f"{word} is no node's {what}")
        if words:
            name, address, group = (words + [words[0], UNKNOWN_GROUP][len(words) - 1 :])[:3]
            nodes[name] = Node(name, address, group)
    if not nodes:
        raise BadNodesFile(file=file, line=len(lines), reason="it names no node")
    return list(nodes.values())
