# SPDX-License-Identifier: Apache-2.0
"""What a case may have left at the storage and on the nodes, and how it is taken away again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gnt_storage.conformance.engine import Call, Engine, Node

_MARKS_OF_ONE_ACTION = ("VOL_SIZE", "VOL_NEW_SIZE", "VOL_METADATA", "VOL_OPEN_EXCLUSIVE")


class Ledger:
    """A book of what may exist: volumes by name, attachments by node and name.

    A call is written down before it starts, since one that fails or is interrupted may have done half
    its work. It is struck out when the opposite call has succeeded.
    """

    def __init__(self) -> None:
        self._volumes: dict[str, dict[str, str]] = {}
        self._attachments: dict[tuple[str, str], dict[str, str]] = {}

    def begins(self, action: str, node: Node, variables: Mapping[str, str]) -> None:
        """A call is about to be made."""
        name = variables.get("VOL_NAME", "")
        if action == "snapshot":
            name = variables.get("VOL_SNAPSHOT_NAME", "")
        if not name:
            return  # Nothing is ever removed under no name: a careless script might remove everything.
        kept = {key: value for key, value in variables.items() if key not in _MARKS_OF_ONE_ACTION}
        kept = {key: value for key, value in kept.items() if not key.startswith("VOL_SNAPSHOT")}
        kept["VOL_NAME"] = name
        if action in ("create", "snapshot"):
            self._volumes[name] = kept
        elif action == "attach":
            self._attachments[node.name, name] = kept

    def ended(self, call: Call) -> None:
        """A call has been made."""
        name = call.variables.get("VOL_NAME", "")
        if call.ok and call.action == "detach":
            self._attachments.pop((call.node, name), None)
        elif call.ok and call.action == "remove":
            self._volumes.pop(name, None)

    def clean_up(self, engine: Engine, nodes: Sequence[Node]) -> list[str]:
        """Detach and remove all that is written down; returns what could not be, a phrase each."""
        left = []
        by_name = {node.name: node for node in nodes}
        for (node_name, name), variables in reversed(self._attachments.items()):
            call = engine.call(by_name[node_name], "detach", variables)
            if not call.ok and name not in self._volumes:
                left.append(f"{name} may still be attached on {node_name} ({call})")
        for name, variables in reversed(self._volumes.items()):
            if not self._remove(engine, nodes, variables):
                left.append(f"volume {name} could not be removed")
        self._volumes.clear()
        self._attachments.clear()
        return left

    def _remove(self, engine: Engine, nodes: Sequence[Node], variables: dict[str, str]) -> bool:
        """Remove a volume; where that fails, as thoroughly as can be; whether it is gone."""
        if engine.call(nodes[0], "remove", variables).ok:
            return True
        if not engine.call(nodes[0], "attach", variables).ok:
            return True  # It was never made: Ganeti too takes this for an answer.
        for node in nodes:
            for action in ("close", "detach"):
                if engine.has(action):
                    engine.call(node, action, variables)
        return engine.call(nodes[0], "remove", variables).ok
