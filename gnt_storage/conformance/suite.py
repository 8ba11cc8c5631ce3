# SPDX-License-Identifier: Apache-2.0
"""Run cases and collect what came of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gnt_storage.conformance.case import Case
from gnt_storage.conformance.cases import ALL
from gnt_storage.conformance.device import DeviceError
from gnt_storage.conformance.engine import Engine, Node
from gnt_storage.conformance.trial import Failed, Interrupted, NotRun, Refused, Trial

PASSED = "passed"
FAILED = "failed"
REFUSED = "refused by provider"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Result:
    """What came of a case; ``seen`` says what went wrong, or why it was not run or refused."""

    case: Case
    outcome: str
    seen: str = ""

    @property
    def failed(self) -> bool:
        """Whether the rule was broken."""
        return self.outcome == FAILED


def select(patterns: Sequence[str], strict: bool) -> list[Case]:
    """The cases whose names match one of the globs (all without any), on wish without the strict ones."""
    return [
        case
        for case in ALL
        if (strict or case.required)
        and (not patterns or any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns))
    ]


def run(cases: Iterable[Case], engine: Engine, nodes: Sequence[Node], size: int) -> Iterator[Result]:
    """Run cases one after the other; each has volumes of its own (``size`` MiB), which are removed again."""
    for case in cases:
        yield _run_case(case, engine, nodes, size)


def _run_case(case: Case, engine: Engine, nodes: Sequence[Node], size: int) -> Result:
    if engine.stopping:
        return Result(case, NOT_RUN, "interrupted")
    if len(nodes) < case.nodes:
        return Result(case, NOT_RUN, f"needs {case.nodes} nodes; give them with --node")
    missing = sorted(script for script in case.scripts if not engine.has(script))
    if missing:
        return Result(case, NOT_RUN, f"the provider has no {' and no '.join(missing)}")
    if case.away and not (engine.away and engine.back):
        return Result(case, NOT_RUN, "needs the storage to be unreachable; say how with --away and --back")
    trial = Trial(engine, nodes, size)
    result = Result(case, PASSED)
    try:
        case.run(trial)
    except (Failed, DeviceError) as failed:
        result = Result(case, FAILED, str(failed))
    except Refused as refused:
        result = Result(case, REFUSED, str(refused))
    except NotRun as not_run:
        result = Result(case, NOT_RUN, str(not_run))
    except Interrupted:
        result = Result(case, NOT_RUN, "interrupted")
    finally:
        left = trial.clean_up()
    if not left:
        return result
    return Result(case, FAILED, "; ".join(filter(None, [result.seen, "left behind: " + ", ".join(left)])))
