# SPDX-License-Identifier: Apache-2.0
"""``verify``: can volumes of this provider be used on this node?

Ganeti never calls it; people, ``gnt-storage diagnose`` and monitoring do. It says nothing and
succeeds, or says in one line everything that is wrong.
"""

from __future__ import annotations

import os

from extstorage_common import connectors, paths, provider, worker
from extstorage_common.deadline import Deadline
from extstorage_common.errors import ExtStorageError, NodeUnfit, UnknownCheck
from extstorage_common.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from extstorage_common.backends.base import Backend, Check
    from extstorage_common.provider import Provider

REPORT = "--report"


class ChecksFailed(ExtStorageError):
    """One or more checks failed; the status is that of the first."""

    template = "{sentence}"


def run(name: str, real_directory: str, names: Sequence[str], asking: Callable[[str], None]) -> list[str]:
    """Run the checks of these names, or all. Raises UnknownCheck, ChecksFailed."""
    if list(names) == [REPORT]:
        from extstorage_common import report

        return report.run(name, real_directory)
    loaded = provider.load(name, real_directory)
    known = list(dict.fromkeys(check for check, _ in _checks(loaded, Deadline(0))))
    for check in names:
        if check not in known:
            raise UnknownCheck(check=check, checks=", ".join(known))

    def work(deadline: Deadline, asking: Callable[[str], None]) -> list[str]:
        _run_checks(_checks(loaded, deadline, asking), names)
        return []

    pool = loaded.pool(loaded.configuration.first_pool())
    return worker.run(work, name, pool["timeout"], asking)


def _run_checks(checks: Iterable[Check], names: Sequence[str]) -> None:
    failures: dict[str, str] = {}
    status = 0
    for name, check in checks:
        if names and name not in names:
            continue
        try:
            check()
        except ExtStorageError as error:
            # What several say, as when a storage does not answer, is said once.
            failures.setdefault(str(error), name)
            status = status or error.status
    if failures:
        failed = ChecksFailed(sentence="; ".join(f"{name}: {error}" for error, name in failures.items()))
        failed.status = status
        raise failed


def node_checks(loaded: Provider) -> list[Check]:
    """The checks by name that ask no storage."""

    def connector() -> None:
        pools = [loaded.pool(name) for name in loaded.configuration.pool_names()]
        for name in sorted({name for pool in pools for name in loaded.backend.connectors_of(pool)}):
            connectors.load(name).validate_connector()

    return [
        ("configuration", loaded.check_names),
        ("logs", _check_logs),
        ("connector", connector),
    ]


def _checks(
    loaded: Provider, deadline: Deadline, asking: Callable[[str], None] = lambda pool: None
) -> list[Check]:
    """Every check by its name; one of a pool comes once for each pool."""
    configuration = loaded.configuration

    def parameters() -> None:
        request = Request("verify", os.environ)
        name = configuration.chosen_pool(request.parameters) or configuration.first_pool()
        loaded.choose(loaded.pool(name), request.parameters)

    checks = [*node_checks(loaded), ("parameters", parameters)]
    for name in configuration.pool_names():
        checks += _pool_checks(loaded.open_pool(loaded.pool(name), deadline), asking)
    return checks


def _pool_checks(backend: Backend, asking: Callable[[str], None]) -> list[Check]:
    def asked(check: Callable[[], None]) -> Callable[[], None]:
        def ask() -> None:
            asking(backend.pool.name)
            check()

        return ask

    return [(name, asked(check)) for name, check in backend.checks()]


def _check_logs() -> None:
    """Ganeti writes the output of every script but attach there, and makes the directory itself never."""
    if not os.path.isdir(paths.GANETI_LOG_DIR):
        reason = (
            f"every script but attach will fail in Ganeti; make it: mkdir -p -m 750 {paths.GANETI_LOG_DIR}"
        )
        raise NodeUnfit(reason=f"{paths.GANETI_LOG_DIR} is not there: {reason}")
