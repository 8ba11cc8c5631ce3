# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage diagnose``: what is wrong with the providers on this node."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import asdict, dataclass

import click

from extstorage_common import paths
from extstorage_common.errors import ExtStorageError
from gnt_storage import output, providers, suite_provider
from gnt_storage.providers import Provider

VERIFY_SECONDS = 900
LOG_DAYS = 60
"""Twice the age at which the package has Ganeti's files of a call deleted."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: with which provider (``-`` for the node itself), and what."""

    provider: str
    problem: str


class ProblemsFound(ExtStorageError):
    """Something is wrong; it has been printed."""

    template = "{count} found"


class NoProviders(ExtStorageError):
    """There is nothing to print, which Ganeti's own command takes for a failure; in its words."""

    template = "Can't get the list of ExtStorage providers"


@click.command()
@click.option("--ganeti", is_flag=True, help="Print only what Ganeti's own command would.")
@click.option("--json", "as_json", is_flag=True, help="Print {version, node, providers, findings} as JSON.")
def diagnose(ganeti: bool, as_json: bool) -> None:
    """Check every provider on this node: as Ganeti does, then more thoroughly.

    Succeeds only if nothing was found wrong.

    \b
    Example:
      gnt-storage diagnose --json
    """
    found = providers.discover()
    findings = [] if ganeti else _findings(found)
    if as_json:
        output.print_json(_document(found, findings))
    else:
        for name, entries in found.items():
            _print_as_ganeti(name, entries[0])
        if ganeti and not found:
            raise NoProviders
        for finding in findings:
            click.echo(f"{finding.provider}: {finding.problem}")
    if findings:
        count = f"{len(findings)} problem{'s' if len(findings) > 1 else ''}"
        raise ProblemsFound(count=count)


def _print_as_ganeti(name: str, provider: Provider) -> None:
    """Ganeti's own form, for the one node and the one group that are known here."""
    status = "valid" if provider.valid else f"invalid - {provider.message}"
    names = ", ".join(parameter[0] for parameter in provider.parameters if parameter)
    parameters = f"[parameters: {names}]" if names else "[no parameters]"
    click.echo(f"Provider: {name}")
    click.echo("---")
    click.echo(f"  Node: {paths.node_name()}, status: {status} (path: {provider.path}) {parameters}")
    click.echo("  --")
    click.echo(f"  For nodegroup: {providers.node_group()} --> {'valid' if provider.valid else 'invalid'}")
    click.echo("")


def _document(found: dict[str, list[Provider]], findings: list[Finding]) -> dict[str, object]:
    return {
        "version": 1,
        "node": paths.node_name(),
        "providers": [
            {"name": name, "path": entries[0].path, "valid": entries[0].valid, "message": entries[0].message}
            for name, entries in found.items()
        ],
        "findings": [asdict(finding) for finding in findings],
    }


def _findings(found: dict[str, list[Provider]]) -> list[Finding]:
    findings = []
    if not found:
        where = ", ".join(providers.SEARCH_PATH)
        findings.append(Finding("-", f"no provider is installed in any of {where}"))
    if not os.path.isdir(paths.GANETI_LOG_DIR):
        problem = f"{paths.GANETI_LOG_DIR} is not there, so Ganeti can run no script but attach"
        findings.append(Finding("-", f"{problem}; make it: mkdir -p -m 750 {paths.GANETI_LOG_DIR}"))
    elif (days := _days_of_oldest_log()) > LOG_DAYS:
        problem = (
            f"nothing deletes Ganeti's old files in {paths.GANETI_LOG_DIR} (the oldest is {days} days old)"
        )
        findings.append(Finding("-", f"{problem}: is systemd-tmpfiles-clean.timer, or cron, running?"))
    for name, (provider, *shadowed) in found.items():
        problems = [f"{other.path} is never used, since {provider.path} comes first" for other in shadowed]
        if not provider.valid:
            problems.append(provider.message)
        else:
            problems += _deeper_problems(provider)
        findings += [Finding(name, problem) for problem in problems]
    return findings


def _days_of_oldest_log() -> int:
    """The age of the oldest of the files that Ganeti writes, one for each call; 0 if there is none."""
    with os.scandir(paths.GANETI_LOG_DIR) as files:
        times = [_mtime(file) for file in files]
    return int((time.time() - min(times)) / 86400) if times else 0


def _mtime(file: os.DirEntry[str]) -> float:
    try:
        return file.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # just deleted
        return time.time()


def _deeper_problems(provider: Provider) -> list[str]:
    problems = []
    file = os.path.join(provider.path, providers.PARAMETERS_FILE)
    with open(file, encoding="utf-8", errors="backslashreplace") as lines:
        problems += [f"{file}: {problem}" for problem in providers.parameter_problems(lines.read())]
    for script in providers.OPTIONAL_SCRIPTS:
        if not os.path.exists(os.path.join(provider.path, script)):
            problems.append(f"it has no {script}: {_MISSED[script]}")
    if suite_provider.is_of_suite(provider.path):
        problems += _verify_problems(provider)
    return problems


_MISSED = {
    "snapshot": "gnt-backup export of a running instance fails",
    "open": "nothing keeps two nodes from using a volume at once",
    "close": "nothing keeps two nodes from using a volume at once",
}


def _verify_problems(provider: Provider) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name.startswith("EXTSTORAGE_")}
    try:
        verify = subprocess.run(
            [os.path.join(provider.path, "verify")],
            capture_output=True,
            text=True,
            check=False,
            timeout=VERIFY_SECONDS,
            env={"PATH": os.defpath, **environment},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"verify can't be run: {error}"]
    return [verify.stderr.strip()] if verify.returncode else []
