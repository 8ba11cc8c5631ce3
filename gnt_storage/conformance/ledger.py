# SPDX-License-Identifier: Apache-2.0
"""What a case may have left at the storage and on the nodes, and how it is taken away again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gnt_storage.conformance.engine import Call, Engine, Node

_LASTING = ("VOL_NAME", "VOL_UUID", "VOL_CNAME")


class Ledger:
    """A book of what may exist: volumes by name, attachments by node and name.

    A call is written down before it starts, since one that fails or is interrupted may have done half
    its work. It is struck out when the opposite call has succeeded.
    """

    def __init__(self) -> None:
        self._volumes: dict[str, dict[str, str]] = {}
        self._attachments: dict[tuple[str, str], dict[str, str]] = {}
        self._certain: set[str] = set()

    def begins(self, action: str, node: Node, variables: Mapping[str, str]) -> None:
        """A call is about to be made."""
        name = variables.get("VOL_NAME", "")
        if action == "snapshot":
            name = variables.get("VOL_SNAPSHOT_NAME", "")
        if not name:
            return  # Nothing is ever removed under no name: a careless script might remove everything.
        kept = {key: value for key, value in variables.items() if key in _LASTING or key.startswith("EXTP_")}
        kept["VOL_NAME"] = name
        if action in ("create", "snapshot"):
            self._volumes[name] = kept
        elif action == "attach":
            self._attachments[node.name, name] = kept

    def ended(self, call: Call) -> None:
        """A call has been made."""
        if not call.ok:
            return
        name = call.variables.get("VOL_NAME", "")
        if call.action == "create":
            self._certain.add(name)
        elif call.action == "snapshot":
            self._certain.add(call.variables.get("VOL_SNAPSHOT_NAME", ""))
        elif call.action == "detach":
            self._attachments.pop((call.node, name), None)
        elif call.action == "remove":
            self._volumes.pop(name, None)
            self._certain.discard(name)

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
            # Ganeti takes this for gone; here that holds only for what may never have been made.
            return variables["VOL_NAME"] not in self._certain
        for node in nodes:
            for action in ("close", "detach"):
                if engine.has(action):
                    engine.call(node, action, variables)
        return engine.call(nodes[0], "remove", variables).ok
