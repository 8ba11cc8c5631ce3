# SPDX-License-Identifier: Apache-2.0
"""What a node shall have, gathered on this one, and how it is sent there.

A node gets everything on the standard input of one command: the modules of ``agent``, then an
archive with ``request`` (JSON), the release below ``tree/`` and single files below ``root/``. So a
secret is in no argument and no environment, here or there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import extstorage_common
import gnt_storage
from extstorage_common import __version__, backends, config, paths, provider
from extstorage_common.config import COMMON_OPTIONS, Option, SecretFile
from extstorage_common.errors import ConfigurationError
from gnt_storage import providers, suite_provider
from gnt_storage.install.agent.files import Entry, Tree, link_to, tree_at
from gnt_storage.install.agent.node import COMMANDS, CONFIG, HOOKS, SEARCHED
from gnt_storage.nodes.program import program

AGENT = tuple(
    f"{__package__}.agent.{name}" for name in ("files", "node", "installing", "uninstalling", "door")
)
"""The modules of ``agent``, each after those that it imports."""
SYSTEM_FILES = (
    ("tmpfiles", "usr/local/lib/tmpfiles.d/ganeti-extstorage.conf", 0o644),
    ("cron.daily", "etc/cron.daily/ganeti-extstorage", 0o755),
    ("logrotate", "etc/logrotate.d/ganeti-extstorage", 0o644),
    ("udev", "usr/local/lib/udev/rules.d/59-ganeti-extstorage.rules", 0o644),
)
"""What keeps the logs from growing, and the node from looking into guests' disks.

The same as in the Debian package: its name here, path and mode.
"""
HOOK = re.compile(r"gnt_storage/hooks/([^/]+\.d/[A-Za-z0-9_-]+)")
"""A hook in a release, by its path below Ganeti's own directory of hooks."""
LOG_DIRECTORIES = (paths.GANETI_LOG_DIR.lstrip("/"),)


class SecretUnreadable(ConfigurationError):
    """A file that a configuration names can't be read here."""

    template = "{file} of provider '{provider}' names {secret}, which can't be read: {reason}"


@dataclass
class Payload:
    """What nodes shall have: ``providers`` are names with their directories in the release.

    ``files`` are by their paths from the root directory; of these, ``secrets`` are never shown.
    ``command_needs`` are modules without which a node gets no command and no hooks.
    """

    providers: dict[str, str]
    tree: Tree = field(default_factory=dict)
    files: Tree = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    command_needs: tuple[str, ...] = ("click", "rich")

    @property
    def release(self) -> str:
        """The version, and a digest of all that is in the tree."""
        digest = hashlib.sha256()
        for path, entry in sorted(self.tree.items()):
            digest.update(f"{path}\0{entry.mode}\0{len(entry.content)}\0".encode())
            digest.update(entry.content)
        return f"{__version__}-{digest.hexdigest()[:12]}"

    def links(self) -> dict[str, str]:
        """The links into the release: of the command, of Ganeti's hooks, of providers."""
        release = "ganeti-extstorage/current"
        links = {f"{COMMANDS}/gnt-storage": f"../lib/{release}/gnt_storage/gnt-storage"}
        for path in self.tree:
            if match := HOOK.fullmatch(path):
                links[f"{HOOKS}/{match[1]}"] = f"../../../../usr/local/lib/{release}/{path}"
        for name, directory in self.providers.items():
            links[f"{SEARCHED}/{name}"] = f"../../{release}/providers/{directory}"
        return links

    def installation(self, *, verify: bool, dry_run: bool) -> bytes:
        """The standard input of a command that installs it."""
        request = {
            "action": "install",
            "release": self.release,
            "providers": self.providers,
            "links": self.links(),
            "command_needs": self.command_needs,
            "secrets": self.secrets,
            "log_directories": LOG_DIRECTORIES,
            "verify": verify,
            "dry_run": dry_run,
        }
        return program(AGENT) + _archive(request, self.tree, self.files)


def gather(names: Mapping[str, str]) -> Payload:
    """What nodes shall have of the providers ``names``: each with the backend that it is.

    Raises BadConfiguration, SecretUnreadable.
    """
    payload = Payload(dict(names), suite())
    for file, path, mode in SYSTEM_FILES:
        payload.files[path] = Entry(mode, Path(__file__).with_name("system").joinpath(file).read_bytes())
    for name, backend in names.items():
        _add_configuration(payload, name, backend)
    return payload


def resolve(kind: str, name: str | None) -> tuple[str, str]:
    """The name that the provider ``kind`` shall have on the nodes, by default its own, and its backend.

    ``kind`` is a provider's name or directory. Raises ProviderNotFound, BadConfiguration, UnknownBackend.
    """
    found = suite_provider.load(kind)
    if name is None:
        return found.name, found.backend.NAME
    return name, provider.load(name, found.backend.NAME).backend.NAME


def removal(names: Iterable[str], *, config: bool, dry_run: bool) -> bytes:
    """The standard input of a command that uninstalls providers; ``config`` takes theirs, too."""
    request = {
        "action": "uninstall",
        "providers": list(names),
        "files": [path for _, path, _ in SYSTEM_FILES],
        "config": config,
        "dry_run": dry_run,
    }
    return program(AGENT) + _archive(request, {}, {})


# --- gathering --------------------------------------------------------------------------------------


def suite() -> Tree:
    """This installation of the suite as a release: the library, the commands, every provider."""
    tree: Tree = {}
    for package in (extstorage_common, gnt_storage):
        directory = os.path.dirname(str(package.__file__))
        for path, entry in tree_at(directory).items():
            mode = 0o755 if entry.content.startswith(b"#!") else 0o644
            tree[f"{package.__name__}/{path}"] = Entry(mode, entry.content)
    for name in backends.NAMES:
        tree |= _provider_directory(name)
    return tree


def _provider_directory(backend: str) -> Tree:
    """A provider's directory: it has nothing that is not made from the backend's table of options."""
    door = link_to("../../extstorage_common/door")
    scripts = (*providers.REQUIRED_SCRIPTS, *providers.OPTIONAL_SCRIPTS)
    tree = {f"providers/{backend}/{name}": door for name in scripts}
    options = config.parameters_of(_table(backend))
    text = "".join(f"{option.name} {option.help}\n" for option in options)
    tree[f"providers/{backend}/{providers.PARAMETERS_FILE}"] = Entry(0o644, text.encode())
    return tree


def _table(backend: str) -> tuple[Option, ...]:
    return (*COMMON_OPTIONS, *backends.load(backend).OPTIONS)


def _add_configuration(payload: Payload, name: str, backend: str) -> None:
    """Add the provider's configuration file, if there is one, and the files with secrets that it names."""
    configuration = config.load(name)
    if configuration.is_absent:
        return
    file = Path(configuration.file)
    mode = stat.S_IMODE(file.stat().st_mode) & 0o644 | 0o600
    payload.files[f"{CONFIG}/{name}.conf"] = Entry(mode, file.read_bytes())
    options = [option.name for option in _table(backend) if isinstance(option.kind, SecretFile)]
    for section in configuration.sections.values():
        for secret in {section[option] for option in options if option in section}:
            path = os.path.normpath(secret).lstrip("/")
            try:
                payload.files[path] = Entry(0o600, Path(secret).read_bytes())
            except OSError as error:
                raise SecretUnreadable(
                    file=file, provider=name, secret=secret, reason=error.strerror
                ) from error
            if path not in payload.secrets:
                payload.secrets.append(path)


# --- sending ----------------------------------------------------------------------------------------


def _archive(request: Mapping[str, Any], tree: Tree, files: Tree) -> bytes:
    """A compressed tar archive (see ``agent.door.parts``), the same for the same content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        members = {"request": Entry(0o600, json.dumps(request).encode())}
        members |= {f"tree/{path}": entry for path, entry in tree.items()}
        members |= {f"root/{path}": entry for path, entry in files.items()}
        for name, entry in members.items():
            member = tarfile.TarInfo(name)
            if entry.mode is None:
                member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(entry.content)
                tar.addfile(member)
            else:
                member.mode, member.size = entry.mode, len(entry.content)
                tar.addfile(member, io.BytesIO(entry.content))
    return stream.getvalue()
