# SPDX-License-Identifier: Apache-2.0
"""Taking the survey: one connection and one command a node, all of it on standard input."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gnt_storage.nodes import remote
from gnt_storage.nodes.inventory import Node
from gnt_storage.nodes.program import COMMAND, program

MODULES = ("gnt_storage.providers", "gnt_storage.survey.host", "gnt_storage.survey.agent")
"""What a node gets, each after those that it imports."""
VERIFY_SECONDS = 120.0
"""For each provider, all at once: two pools that do not answer take twice 50 s by default."""
REST_SECONDS = 60.0
"""For all else that is done on a node."""


@dataclass(frozen=True)
class Told:
    """What a node told (see ``agent``), or the ``problem`` why it did not.

    ``earlier`` and ``later`` are between what its clock differs from ours, in seconds.
    """

    node: Node
    document: dict[str, Any] | None = None
    problem: str = ""
    earlier: float = 0.0
    later: float = 0.0


def take(
    nodes: Sequence[Node], parallel: int = remote.PARALLEL, seconds: float = VERIFY_SECONDS
) -> Iterator[Told]:
    """Ask all nodes; yields what they tell as it comes. A provider's verify gets ``seconds``."""
    stdin = program(MODULES, secrets.token_hex(32), seconds)
    for answer in remote.run(nodes, COMMAND, stdin, parallel=parallel, timeout=seconds + REST_SECONDS):
        yield _told(answer)


def _told(answer: remote.Answer) -> Told:
    if answer.problem:
        return Told(answer.node, problem=answer.problem)
    try:
        document = json.loads(answer.stdout)
        its_time = float(document["time"])
    except (ValueError, KeyError, TypeError):
        said = answer.stderr.decode(errors="backslashreplace").strip().splitlines()
        return Told(
            answer.node, problem=f"it could not be looked at: {said[-1] if said else 'it says nothing'}"
        )
    return Told(answer.node, document, "", its_time - answer.ended, its_time - answer.began)
