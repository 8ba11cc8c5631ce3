# SPDX-License-Identifier: Apache-2.0
"""Which providers are of this suite, and how the commands find and load them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from extstorage_common import backends, config, paths, provider, script
from extstorage_common.errors import NotFound
from extstorage_common.provider import Provider
from gnt_storage import providers


class ProviderNotFound(NotFound):
    """Neither a directory nor a name on the search path."""

    template = "there is no provider '{name}': no such directory, and not in {where}; {nearest}"


@dataclass(frozen=True)
class Failure:
    """A provider (``pool`` is ``-``) or pool that could not be asked, or not be changed, and why."""

    provider: str
    pool: str
    status: int
    reason: str


def is_of_suite(directory: str) -> bool:
    """Whether the executables in a provider directory are this suite's: the door, linked or copied."""
    door = os.path.join(os.path.dirname(script.__file__), "door")
    try:
        with open(door, "rb") as ours, open(os.path.join(directory, "attach"), "rb") as theirs:
            return ours.read() == theirs.read()
    except OSError:
        return False


def names() -> dict[str, str]:
    """Every provider of this suite that is installed or configured here, with its directory or ``""``."""
    found = {}
    for name, (used, *_) in providers.discover().items():
        if is_of_suite(used.path):
            found[name] = used.path
    try:
        files = sorted(os.listdir(paths.config_dir()))
    except FileNotFoundError:
        files = []
    for file in files:
        name, extension = os.path.splitext(file)
        if extension == ".conf":
            found.setdefault(name, "")
    return found


def load(name_or_directory: str) -> Provider:
    """A provider of this suite, by its name on Ganeti's search path or by its directory.

    A name that is a backend's, or whose configuration names one, need not be installed here. Raises
    ProviderNotFound, BadConfiguration, UnknownBackend.
    """
    try:
        directory = find(name_or_directory)
    except ProviderNotFound:
        if name_or_directory in backends.NAMES or config.load(name_or_directory).backend():
            return of(name_or_directory)
        raise
    return of(os.path.basename(directory), directory)


def of(name: str, directory: str = "") -> Provider:
    """A provider of this suite by its name, which need not be installed here if it is configured.

    Raises BadConfiguration, UnknownBackend.
    """
    return provider.load(name, os.path.realpath(directory) if directory else name)


def find(name_or_directory: str) -> str:
    """The directory of a provider. Raises ProviderNotFound."""
    if "/" in name_or_directory and os.path.isdir(name_or_directory):
        return os.path.abspath(name_or_directory)
    found = providers.find(name_or_directory)
    if found is None:
        nearest = config.nearest(name_or_directory, {*backends.NAMES, *names()})
        where = ", ".join(providers.SEARCH_PATH)
        raise ProviderNotFound(name=name_or_directory, where=where, nearest=nearest)
    return found
