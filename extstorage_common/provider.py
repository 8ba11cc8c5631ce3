# SPDX-License-Identifier: Apache-2.0
"""A provider: its configuration file, read by the table of options of its backend."""

from __future__ import annotations

import os

from extstorage_common import backends, config, paths
from extstorage_common.deadline import Deadline
from extstorage_common.errors import UnknownBackend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from extstorage_common.backends.base import Backend
    from extstorage_common.config import Configuration, Option, Pool


class Provider:
    """What a provider's name stands for on this node."""

    def __init__(self, name: str, configuration: Configuration, backend: type[Backend]) -> None:
        self.name = name
        self.configuration = configuration
        self.backend = backend

    @property
    def table(self) -> tuple[Option, ...]:
        """Every option that a pool can have."""
        return (*config.COMMON_OPTIONS, *self.backend.OPTIONS)

    def check_names(self) -> None:
        """Raise UnknownOption for an option in the file that no pool of this backend has."""
        self.configuration.check_names(self.table)

    def pool(self, name: str, is_controller: bool = False) -> Pool:
        """The pool of this name. Raises PoolNotFound, BadOption, MissingOption."""
        return self.configuration.pool(name, self.table, self.backend.DEFAULTS, is_controller)

    def choose(self, pool: Pool, parameters: Mapping[str, str]) -> Pool:
        """``pool`` with what a disk's ``parameters`` choose. Raises what :func:`config.choose` raises."""
        return config.choose(pool, self.table, parameters)

    def open_pool(self, pool: Pool, deadline: Deadline | None = None) -> Backend:
        """The pool's backend, for one call of this node; by default with the pool's ``timeout``."""
        deadline = deadline or Deadline(pool["timeout"])
        return backends.open_pool(self.backend, pool, paths.node_name(), deadline)


def load(name: str, real_directory: str) -> Provider:
    """The provider ``name``.

    Its backend is the one that the configuration names, or else that of the directory's real name:
    ``nfs1`` may be a link to ``file``. Raises BadConfiguration, UnknownBackend.
    """
    said = config.load(name)
    backend_name = said.backend() or os.path.basename(real_directory)
    if backend_name not in backends.NAMES:
        raise UnknownBackend(provider=name, backends=" or ".join(backends.NAMES), file=said.file)
    backend = backends.load(backend_name)
    configuration = config.Configuration(name, said.file, said.sections, needs_file=not backend.DEFAULTS)
    return Provider(name, configuration, backend)
