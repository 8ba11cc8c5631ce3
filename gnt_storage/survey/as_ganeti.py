# SPDX-License-Identifier: Apache-2.0
"""What Ganeti's own ``gnt-storage diagnose`` makes of the nodes, in its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gnt_storage.providers import natural
from gnt_storage.survey.taking import Told

NOT_FOUND = "ExtStorage provider not found"


def judgements(told: Sequence[Told], all_groups: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Each provider: on each node that answered which directory is used and whether it is valid; each group.

    A group is valid if all its nodes that answered are; so is one that has no such node.
    """
    answered = [one for one in told if one.document is not None]
    on_nodes = {one.node.name: _used(one) for one in answered}
    names = sorted({name for entries in on_nodes.values() for name in entries}, key=natural)
    judged = []
    for name in names:
        nodes = []
        groups = dict.fromkeys(all_groups, True)
        for one in answered:
            entry = on_nodes[one.node.name].get(name)
            valid = bool(entry and entry["valid"])
            groups[one.node.group] = groups.get(one.node.group, True) and valid
            nodes.append(
                {
                    "node": one.node.name,
                    "path": entry["path"] if entry else "",
                    "valid": valid,
                    "message": entry["message"] if entry else NOT_FOUND,
                }
            )
        judged.append({"name": name, "nodes": nodes, "groups": groups})
    return judged


def _used(told: Told) -> dict[str, Mapping[str, Any]]:
    used: dict[str, Mapping[str, Any]] = {}
    for entry in (told.document or {})["providers"]:
        used.setdefault(entry["name"], entry)
    return used


def lines(told: Sequence[Told], all_groups: Sequence[str] = ()) -> Iterator[str]:
    """Ganeti's output. It names nodes by their UUIDs, where there are any."""
    answered = [one for one in told if one.document is not None]
    for judgement in judgements(told, all_groups):
        name = judgement["name"]
        yield f"Provider: {name}"
        yield "---"
        statuses = {one.node.uuid or one.node.name: _status(_used(one).get(name)) for one in answered}
        for wanted in (True, False):
            for node in sorted(statuses, key=natural):
                valid, text = statuses[node]
                if valid is wanted:
                    yield f"  Node: {node}, status: {text}"
        yield "  --"
        for wanted in (True, False):
            for group in sorted(judgement["groups"], key=natural):
                if judgement["groups"][group] is wanted:
                    yield f"  For nodegroup: {group} --> {'valid' if wanted else 'invalid'}"
        yield ""


def _status(entry: Mapping[str, Any] | None) -> tuple[bool, str]:
    if entry is None:
        return False, NOT_FOUND
    status = "valid" if entry["valid"] else f"invalid - {entry['message']}"
    names = ", ".join(words[0] for words in entry["parameters"] if words)
    parameters = f"[parameters: {names}]" if names else "[no parameters]"
    return entry["valid"], f"{status} (path: {entry['path']}) {parameters}"
