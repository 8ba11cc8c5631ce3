# SPDX-License-Identifier: Apache-2.0
"""What one node tells of itself.

This module is sent to the nodes, with ``gnt_storage.providers`` and ``survey.host`` before it. So it imports
nothing of ours besides, works where the suite is missing, broken or another version, and asks the suite only
by running ``verify --report``, in processes with a limit. The document, version 1, has:

- all that ``survey.host`` tells of the machine,
- ``time`` (seconds since the epoch),
- ``libraries`` (directory: [version, digest]),
- ``providers``: in the order of the search path, each with ``name``, ``path``, ``valid``, ``message``,
  ``parameters``; the one that Ganeti uses with ``digests`` (file: digest), ``writable`` (what others than
  root may change), ``blank`` (what is wrong with parameters.list), ``missing`` (optional scripts),
  ``report`` (see ``extstorage_common.report``; null where the provider is none of ours), ``verify`` (a
  sentence, where it could give no report).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gnt_storage import providers
from gnt_storage.providers import ProviderDirectory
from gnt_storage.survey.host import host

OURS = ("extstorage_common", "gnt_storage")
REPORT_VERSION = 1
AT_ONCE = 16
"""Verifies that run at a time; each has the whole limit."""


def main(key: str, seconds: float) -> None:
    """Print the document. A provider's verify gets ``seconds``."""
    print(json.dumps(survey(key, seconds)))


def survey(key: str, seconds: float) -> dict[str, Any]:
    """The document."""
    found = providers.discover()
    used = [_used(entries[0]) for entries in found.values()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda entry: _verify(entry, key, seconds), used))
    shadowed = [_entry(provider) for _, *others in found.values() for provider in others]
    libraries = {entry["report"]["library"] for entry in used if entry["report"]}
    return {
        "version": 1,
        **host(),
        "libraries": {library: _library(library) for library in sorted(libraries)},
        "providers": [*used, *shadowed],
        "time": time.time(),
    }


def _entry(provider: ProviderDirectory) -> dict[str, Any]:
    return {
        "name": provider.name,
        "path": provider.path,
        "valid": provider.valid,
        "message": provider.message,
        "parameters": [list(words) for words in provider.parameters],
    }


def _used(provider: ProviderDirectory) -> dict[str, Any]:
    """The one that Ganeti uses of those that have a name."""
    entry = _entry(provider)
    files = [*providers.REQUIRED_SCRIPTS, *providers.OPTIONAL_SCRIPTS, providers.PARAMETERS_FILE]
    there = {file: os.path.join(provider.path, file) for file in files}
    there = {file: path for file, path in there.items() if os.path.isfile(path)}
    entry["digests"] = {file: _digest(path) for file, path in there.items()}
    directories = {provider.path, *(os.path.dirname(os.path.realpath(path)) for path in there.values())}
    entry["writable"] = sorted(path for path in {*there.values(), *directories} if _is_writable(path))
    entry["missing"] = [file for file in providers.OPTIONAL_SCRIPTS if file not in there]
    entry["blank"] = []
    entry["report"] = None
    entry["verify"] = ""
    if provider.valid:
        with open(there[providers.PARAMETERS_FILE], encoding="utf-8", errors="backslashreplace") as lines:
            entry["blank"] = providers.parameter_problems(lines.read())
    return entry


def _verify(entry: dict[str, Any], key: str, seconds: float) -> None:
    if entry["valid"]:
        entry["report"], entry["verify"] = _ask(os.path.join(entry["path"], "verify"), key, seconds)


def _ask(verify: str, key: str, seconds: float) -> tuple[Any, str]:
    """What a provider's verify reports, or what there is to say when it does not.

    Only ours knows ``--report``; of others verify is not run, since nobody knows what it would do.
    """
    if not _is_ours(verify):
        return None, ""
    environment = {name: value for name, value in os.environ.items() if name.startswith("EXTSTORAGE_")}
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            [verify, "--report"], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True,
            encoding="utf-8", errors="backslashreplace", env={"PATH": os.defpath, **environment},
        )  # fmt: skip
    except OSError as error:
        return None, str(error)
    try:
        stdout, stderr = process.communicate(key + "\n", seconds)
    except subprocess.TimeoutExpired:
        # Not waited for: what sleeps in the kernel does not even listen to this.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return None, f"verify did not end within {seconds:.0f} s"
    return _report(stdout, stderr)


def _report(stdout: str, stderr: str) -> tuple[Any, str]:
    """What verify printed, if it is a report; else its last word on stderr."""
    try:
        report = json.loads(stdout)
    except ValueError:
        said = stderr.strip().splitlines()
        return None, said[-1] if said else "verify said nothing"
    if not isinstance(report, dict) or report.get("version") != REPORT_VERSION:
        return None, "verify gives a report that this gnt-storage can't read; is the suite another version?"
    return report, ""


def _is_ours(script: str) -> bool:
    """Whether a script is the suite's door, linked or copied, of whatever version."""
    try:
        with open(script, "rb") as stream:
            return b"from extstorage_common import script" in stream.read(1 << 16)
    except OSError:
        return False


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return ""


def _library(library: str) -> list[str]:
    """The version and a digest of all modules of the suite in a directory."""
    digest = hashlib.sha256()
    version = ""
    for package in OURS:
        for directory, subdirectories, files in os.walk(os.path.join(library, package)):
            subdirectories.sort()
            for file in sorted(files):
                if file.endswith(".py") or file == "door":
                    path = os.path.join(directory, file)
                    digest.update(f"{os.path.relpath(path, library)} {_digest(path)}\n".encode())
    try:
        with open(os.path.join(library, OURS[0], "__init__.py"), encoding="utf-8") as lines:
            version = next((line.split('"')[1] for line in lines if line.startswith("__version__")), "")
    except OSError:
        pass
    return [version, digest.hexdigest()]


def _is_writable(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (
        status.st_uid != 0 or bool(status.st_mode & 0o002) or bool(status.st_mode & 0o020 and status.st_gid)
    )
