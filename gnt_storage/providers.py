# SPDX-License-Identifier: Apache-2.0
"""Provider directories as Ganeti 3.0 sees them: where it looks, and what it calls valid.

Imports nothing of ours: ``gnt-storage diagnose`` sends it to nodes, whatever they have.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SEARCH_PATH = tuple(
    os.environ.get(
        "EXTSTORAGE_SEARCH_PATH",
        "/srv/ganeti/extstorage:/usr/local/lib/ganeti/extstorage"
        ":/usr/lib/ganeti/extstorage:/usr/share/ganeti/extstorage",
    ).split(":")
)
"""Where Ganeti looks for providers; the first directory that has the name wins. (Tests set the variable.)"""

REQUIRED_SCRIPTS = ("create", "attach", "detach", "remove", "grow", "setinfo", "verify")
OPTIONAL_SCRIPTS = ("snapshot", "open", "close")
PARAMETERS_FILE = "parameters.list"

_NAME = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True)
class ProviderDirectory:
    """What Ganeti would report of one name in one directory of the search path.

    ``message`` says why it is not valid. ``parameters`` are the lines of parameters.list, split
    into name and description; a line may lack either (see :func:`parameter_problems`).
    """

    name: str
    path: str
    valid: bool
    message: str
    parameters: tuple[tuple[str, ...], ...] = ()


class _Invalid(Exception):
    """Ganeti would not use this provider; the text is the reason in Ganeti's words."""


def discover(search_path: Iterable[str] = SEARCH_PATH) -> dict[str, list[ProviderDirectory]]:
    """Everything visible on the search path, by name; of each name the first found comes first.

    Ganeti takes whatever lies in these directories for a provider, a README too.
    """
    found: dict[str, list[ProviderDirectory]] = {}
    for directory in search_path:
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            if not name.startswith("."):
                found.setdefault(name, []).append(examine(directory, name))
    return {name: found[name] for name in sorted(found, key=natural)}


def find(name: str, search_path: Sequence[str] = SEARCH_PATH) -> str | None:
    """The directory that Ganeti runs for this provider; None where it finds none."""
    if not _NAME.fullmatch(name):
        return None
    paths = (os.path.join(directory, name) for directory in search_path)
    return next((path for path in paths if os.path.isdir(path)), None)


def examine(directory: str, name: str) -> ProviderDirectory:
    """Ganeti's judgement of the provider ``name`` in one directory of the search path.

    Where several files are wrong, Ganeti names any one of them; here it is the first.
    """
    path = os.path.join(directory, name)
    try:
        if find(name, [directory]) is None:
            raise _Invalid(f"Directory for External Storage Provider {name} not found in search path")
        for script in REQUIRED_SCRIPTS + OPTIONAL_SCRIPTS:
            _check_file(path, script)
        _check_file(path, PARAMETERS_FILE)
        parameters = _read_parameters(os.path.join(path, PARAMETERS_FILE))
    except _Invalid as invalid:
        return ProviderDirectory(name, path, False, str(invalid))
    return ProviderDirectory(name, path, True, "", parameters)


def parameter_problems(text: str) -> list[str]:
    """What in a parameters.list would crash Ganeti's own ``gnt-storage``; an empty file is fine."""
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(None, 1)
        if not words:
            problems.append(f"line {number} is blank, which crashes gnt-storage diagnose and info")
        elif len(words) == 1:
            problems.append(
                f"line {number} names '{words[0]}' without a description, which crashes gnt-storage info"
            )
    return problems


def _check_file(path: str, filename: str) -> None:
    try:
        mode = os.stat(os.path.join(path, filename)).st_mode
    except OSError as error:
        if filename in OPTIONAL_SCRIPTS:
            return
        code = errno.errorcode.get(error.errno or 0, str(error))
        raise _Invalid(f"File '{filename}' under path '{path}' is missing ({code})") from None
    if not stat.S_ISREG(mode):
        raise _Invalid(f"File '{filename}' under path '{path}' is not a regular file")
    if filename != PARAMETERS_FILE and not mode & stat.S_IXUSR:
        raise _Invalid(f"File '{filename}' under path '{path}' is not executable")


def _read_parameters(file: str) -> tuple[tuple[str, ...], ...]:
    try:
        with open(file, encoding="utf-8", errors="backslashreplace") as lines:
            return tuple(tuple(line.split(None, 1)) for line in lines.read().splitlines())
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, str(error))
        raise _Invalid(f"Error while reading the EXT parameters file at {file}: {code}") from None


def natural(name: str) -> list[tuple[int, str]]:
    """The key that sorts ``nfs10`` after ``nfs9``."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]
