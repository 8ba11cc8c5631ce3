# SPDX-License-Identifier: Apache-2.0
"""What one node tells of itself.

This module is sent to the nodes, with ``gnt_storage.providers`` before it. So it imports nothing of ours
besides, works where the suite is missing, broken or another version, and asks the suite only by running
``verify --report``, in a process with a limit. The document, version 1, has:

- ``python``, ``kernel``, ``packages`` (name: version), ``initiator`` (the iSCSI name, or ``""``),
- ``time`` (seconds since the epoch),
- ``logs``: ``there`` (whether the directory of Ganeti's logs exists), ``oldest`` (the age of one, in days),
- ``configuration`` (file: [mode, owner]), ``libraries`` (directory: [version, digest]),
- ``attachments``: [volume, provider, state] of each record,
- ``providers``: in the order of the search path, each with ``name``, ``path``, ``valid``, ``message``,
  ``parameters``; the one that Ganeti uses with ``digests`` (file: digest), ``writable`` (what others than
  root may change), ``blank`` (what is wrong with parameters.list), ``missing`` (optional scripts),
  ``report`` (see ``extstorage_common.report``; null where the provider is none of ours), ``verify`` (a
  sentence, where it could give no report).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import time
from typing import Any

from gnt_storage import providers
from gnt_storage.providers import Provider

LOGS = "/var/log/ganeti/extstorage"
CONFIGURATION = os.environ.get("EXTSTORAGE_CONFIG_DIR", "/etc/ganeti/extstorage")
INITIATOR = "/etc/iscsi/initiatorname.iscsi"
PACKAGES = (
    *("ganeti", "ganeti-extstorage", "python3-os-brick", "python3-paramiko", "python3-rbd", "librbd1"),
    *("ceph-common", "open-iscsi", "multipath-tools", "lvm2"),
)
OURS = ("extstorage_common", "gnt_storage")


def main(key: str, seconds: float) -> None:
    """Print the document. A provider's verify gets ``seconds``."""
    print(json.dumps(survey(key, seconds)))


def survey(key: str, seconds: float) -> dict[str, Any]:
    """The document."""
    found = providers.discover()
    entries = []
    for name in found:
        first, *shadowed = found[name]
        entries.append(_used(first, key, seconds))
        entries += [_entry(other) for other in shadowed]
    libraries = {entry["report"]["library"] for entry in entries if entry.get("report")}
    return {
        "version": 1,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "packages": _packages(),
        "initiator": _initiator(),
        "logs": {"there": os.path.isdir(LOGS), "oldest": _days_of_oldest(LOGS)},
        "configuration": _modes(CONFIGURATION),
        "libraries": {library: _library(library) for library in sorted(libraries)},
        "providers": entries,
        "attachments": _attachments(),
        "time": time.time(),
    }


def _entry(provider: Provider) -> dict[str, Any]:
    return {
        "name": provider.name,
        "path": provider.path,
        "valid": provider.valid,
        "message": provider.message,
        "parameters": [list(words) for words in provider.parameters],
    }


def _used(provider: Provider, key: str, seconds: float) -> dict[str, Any]:
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
        entry["report"], entry["verify"] = _ask(there["verify"], key, seconds)
    return entry


def _ask(verify: str, key: str, seconds: float) -> tuple[Any, str]:
    """What a provider's verify reports, or what there is to say when it does not.

    Only ours knows ``--report``; of others verify is not run, since nobody knows what it would do.
    """
    if not _is_ours(verify):
        return None, ""
    environment = {name: value for name, value in os.environ.items() if name.startswith("EXTSTORAGE_")}
    try:
        done = subprocess.run(
            [verify, "--report"],
            input=key + "\n", capture_output=True, text=True, errors="backslashreplace", check=False,
            timeout=seconds, env={"PATH": os.defpath, **environment},
        )  # fmt: skip
        return json.loads(done.stdout), ""
    except subprocess.TimeoutExpired:
        return None, f"verify did not end within {seconds:.0f} s"
    except (OSError, ValueError) as error:
        said = done.stderr.strip().splitlines() if isinstance(error, ValueError) else [str(error)]
        return None, said[-1] if said else "verify said nothing"


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


def _modes(directory: str) -> dict[str, list[Any]]:
    modes = {}
    try:
        for name in sorted(os.listdir(directory)):
            status = os.stat(os.path.join(directory, name))
            modes[os.path.join(directory, name)] = [f"{status.st_mode & 0o7777:04o}", status.st_uid]
    except OSError:
        pass
    return modes


def _days_of_oldest(directory: str) -> int:
    times = [time.time()]
    try:
        with os.scandir(directory) as files:
            for file in files:
                times.append(file.stat(follow_symlinks=False).st_mtime)
    except OSError:
        pass
    return int((times[0] - min(times)) / 86400)


def _packages() -> dict[str, str]:
    try:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n", *PACKAGES],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return {}
    words = [line.split() for line in done.stdout.splitlines()]
    return {word[1]: word[2] for word in words if len(word) == 3 and word[0] == "installed"}


def _attachments() -> list[list[str]]:
    """Of every record of an attachment (see ``extstorage_common.attachments``)."""
    directory = os.path.join(os.environ.get("EXTSTORAGE_RUN_DIR", "/run/ganeti-extstorage"), "attachments")
    found = []
    try:
        for volume in sorted(os.listdir(directory)):
            with open(os.path.join(directory, volume), encoding="utf-8", errors="backslashreplace") as lines:
                told = dict(line.rstrip("\n").partition(" ")[::2] for line in lines)
            found.append([volume, told.get("provider", ""), told.get("state", "")])
    except OSError:
        pass
    return found


def _initiator() -> str:
    try:
        with open(INITIATOR, encoding="utf-8", errors="backslashreplace") as lines:
            names = [line.partition("=")[2].strip() for line in lines if line.startswith("InitiatorName=")]
    except OSError:
        return ""
    return names[0] if names else ""
