# SPDX-License-Identifier: Apache-2.0
"""``verify``: can volumes of this provider be used on this node?

Ganeti never calls it; people, ``gnt-storage diagnose`` and monitoring do. It says nothing and
succeeds, or says in one line everything that is wrong.
"""

from __future__ import annotations

import os

from extstorage_common import backends, config, connectors, paths, worker
from extstorage_common.deadline import Deadline
from extstorage_common.errors import ExtStorageError, NodeUnfit, UnknownCheck
from extstorage_common.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from extstorage_common.backends.base import Backend, Check
    from extstorage_common.config import Configuration

REPORT = "--report"


class ChecksFailed(ExtStorageError):
    """One or more checks failed; the status is that of the first."""

    template = "{sentence}"


def run(provider: str, real_directory: str, names: Sequence[str], asking: Callable[[str], None]) -> list[str]:
    """Run the checks of these names, or all. Raises UnknownCheck, ChecksFailed."""
    if list(names) == [REPORT]:
        from extstorage_common import report

        return report.run(provider, real_directory)
    from extstorage_common.script import provider_parts

    configuration, backend = provider_parts(provider, real_directory)
    known = list(dict.fromkeys(name for name, _ in _checks(configuration, backend, Deadline(0))))
    for name in names:
        if name not in known:
            raise UnknownCheck(check=name, checks=", ".join(known))

    def work(deadline: Deadline, asking: Callable[[str], None]) -> list[str]:
        _run_checks(_checks(configuration, backend, deadline, asking), names)
        return []

    table = (*config.COMMON_OPTIONS, *backend.OPTIONS)
    pool = configuration.pool(configuration.first_pool(), table, backend.DEFAULTS)
    return worker.run(work, provider, pool["timeout"], asking)


def _run_checks(checks: Iterable[Check], names: Sequence[str]) -> None:
    failures = []
    for name, check in checks:
        if names and name not in names:
            continue
        try:
            check()
        except ExtStorageError as error:
            failures.append((name, error))
    if failures:
        failed = ChecksFailed(sentence="; ".join(f"{name}: {error}" for name, error in failures))
        failed.status = failures[0][1].status
        raise failed


def node_checks(configuration: Configuration, backend: type[Backend]) -> list[Check]:
    """The checks by name that ask no storage."""
    table = (*config.COMMON_OPTIONS, *backend.OPTIONS)

    def connector() -> None:
        pools = [configuration.pool(name, table, backend.DEFAULTS) for name in configuration.pool_names()]
        for name in sorted({name for pool in pools for name in backend.connectors_of(pool)}):
            connectors.load(name).validate_connector()

    return [
        ("configuration", lambda: configuration.check_names(table)),
        ("logs", _check_logs),
        ("connector", connector),
    ]


def _checks(
    configuration: Configuration,
    backend: type[Backend],
    deadline: Deadline,
    asking: Callable[[str], None] = lambda pool: None,
) -> list[Check]:
    """Every check by its name; one of a pool comes once for each pool."""
    table = (*config.COMMON_OPTIONS, *backend.OPTIONS)

    def parameters() -> None:
        request = Request("verify", os.environ)
        name = configuration.chosen_pool(request.parameters) or configuration.first_pool()
        config.choose(configuration.pool(name, table, backend.DEFAULTS), table, request.parameters)

    checks = [*node_checks(configuration, backend), ("parameters", parameters)]
    for pool_name in configuration.pool_names():
        pool = configuration.pool(pool_name, table, backend.DEFAULTS)
        checks += _pool_checks(backends.open_pool(backend, pool, paths.node_name(), deadline), asking)
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
