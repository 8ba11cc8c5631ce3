# SPDX-License-Identifier: Apache-2.0
"""A provider directory as one of this suite's own: its configuration, backend and pools."""

from __future__ import annotations

import os
from dataclasses import dataclass

from extstorage_common import backends, config, paths, script
from extstorage_common.backends.base import Backend
from extstorage_common.config import COMMON_OPTIONS, Configuration, Option
from extstorage_common.deadline import Deadline
from extstorage_common.errors import NotFound
from gnt_storage import providers


@dataclass(frozen=True)
class SuiteProvider:
    """What the library knows of a provider."""

    name: str
    directory: str
    configuration: Configuration
    backend: type[Backend]

    @property
    def table(self) -> tuple[Option, ...]:
        """Every option of a pool."""
        return (*COMMON_OPTIONS, *self.backend.OPTIONS)

    def pool(self, name: str) -> Backend:
        """The backend of one pool. Raises PoolNotFound, BadOption, MissingOption."""
        pool = self.configuration.pool(name, self.table, self.backend.DEFAULTS)
        return backends.open_pool(self.backend, pool, paths.node_name(), Deadline(pool["timeout"]))

    def parameters(self) -> list[Option]:
        """What a single disk may choose."""
        return config.parameters_of(self.table)


def is_of_suite(directory: str) -> bool:
    """Whether the executables in a provider directory are this suite's: the door, linked or copied."""
    door = os.path.join(os.path.dirname(script.__file__), "door")
    try:
        with open(door, "rb") as ours, open(os.path.join(directory, "attach"), "rb") as theirs:
            return ours.read() == theirs.read()
    except OSError:
        return False


def load(name_or_directory: str) -> SuiteProvider:
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


def of(name: str, directory: str = "") -> SuiteProvider:
    """A provider of this suite by its name, which need not be installed here if it is configured.

    Raises BadConfiguration, UnknownBackend.
    """
    real = os.path.realpath(directory) if directory else name
    configuration, backend = script.provider_parts(name, real)
    return SuiteProvider(name, directory, configuration, backend)


class ProviderNotFound(NotFound):
    """Neither a directory nor a name on the search path."""

    template = "there is no provider '{name}': no such directory, and not in {where}"


def find(name_or_directory: str) -> str:
    """The directory of a provider. Raises ProviderNotFound."""
    if "/" in name_or_directory and os.path.isdir(name_or_directory):
        return os.path.abspath(name_or_directory)
    found = providers.find(name_or_directory)
    if found is None:
        raise ProviderNotFound(name=name_or_directory, where=", ".join(providers.SEARCH_PATH))
    return found
