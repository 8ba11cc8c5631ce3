# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage controller``: the machine that manages a pool for nodes that only use it."""

from __future__ import annotations

import base64
import binascii
import os
import shlex
import struct
import sys
from typing import TextIO

import click

from extstorage_common import paths, serve
from extstorage_common.backends.remote import RemoteBackend
from extstorage_common.errors import BadRequest, ExtStorageError
from extstorage_common.provider import Provider
from extstorage_common.request import is_name
from gnt_storage import suite_provider


class NotAPublicKey(BadRequest):
    template = "{file} is no public key of OpenSSH ({reason}); give the file that ends with .pub"


class NotANode(BadRequest):
    template = "'{name}' can't name a {what}"


@click.group()
def controller() -> None:
    """Let nodes use pools that this machine manages for them."""


@controller.command()
@click.argument("node")
@click.argument("key", type=click.File(encoding="ascii", errors="replace"))
@click.argument("pools", metavar="PROVIDER[/POOL]...", nargs=-1, required=True)
@click.option(
    "--cluster",
    default=paths.cluster_name,
    help="The Ganeti cluster that NODE belongs to.  [default: this machine's]",
)
def authorize(node: str, key: TextIO, pools: tuple[str, ...], cluster: str) -> None:
    """Print the line for this machine's authorized_keys that lets NODE use the pools.

    KEY is the file with the node's public key ("-" for standard input). NODE is Ganeti's name for it.
    With that key nothing can be done here but what a backend does for that node, in these pools of
    this machine's configuration.

    \b
    Example, on the node:
      ssh-keygen -t ed25519 -N '' -f /etc/ganeti/extstorage/controller_key
    and on the controller, with the node's controller_key.pub:
      gnt-storage controller authorize node1.example.com node1.pub lvm >>/root/.ssh/authorized_keys
    """
    for what, name in (("node", node), ("cluster", cluster)):
        if not is_name(name) and name != "-":
            raise NotANode(name=name, what=what)
    for pool in pools:
        _check_pool(pool)
    public = _public_key(key.name, key.read())
    executable = os.path.join(os.path.dirname(os.path.abspath(serve.__file__)), "controller")
    words = [executable, node, cluster, *pools]
    command = shlex.join(words).replace("\\", "\\\\").replace('"', '\\"')
    click.echo(f'restrict,command="{command}" {public} {node}')


@controller.command()
def restore() -> None:
    """Export again what was exported to nodes before this machine was restarted.

    The unit ganeti-extstorage-exports.service calls it when the machine starts, after the system's own
    services have restored what they know. It can be called at any time: running exports go on.
    """
    failures: list[ExtStorageError] = []
    for name, directory in suite_provider.names().items():
        try:
            provider = suite_provider.of(name, directory)
            pools = provider.configuration.pool_names()
        except ExtStorageError as error:
            failures.append(_told(name, error))
            continue
        for pool in pools:
            try:
                _restore(provider, pool)
            except ExtStorageError as error:
                failures.append(_told(f"{name}: pool '{pool}'", error))
    if failures:
        sys.exit(failures[0].status)


def _restore(provider: Provider, pool: str) -> None:
    backend = provider.open_pool(provider.pool(pool))
    if not isinstance(backend, RemoteBackend):
        for volume in backend.restore_exports():
            click.echo(f"{provider.name}: pool '{pool}': {volume}")


def _told(where: str, error: ExtStorageError) -> ExtStorageError:
    """Say at once what is wrong: it shall not keep the other pools from being restored."""
    click.echo(f"gnt-storage: {where}: {error}", err=True)
    return error


def _check_pool(said: str) -> None:
    """Raise what is wrong with a pool that a node is to use, as it is configured here."""
    name, _, pool = said.partition("/")
    provider = suite_provider.of(name)
    for one in [pool] if pool else provider.configuration.pool_names():
        provider.pool(one)


def _public_key(file: str, text: str) -> str:
    """The key's type and data, of the one line of a public key's file. Raises NotAPublicKey."""
    lines = [line for line in text.splitlines() if line.strip()]
    words = lines[0].split() if len(lines) == 1 else []
    if len(words) < 2:
        raise NotAPublicKey(file=file, reason=f"{len(lines)} lines" if len(lines) != 1 else "one word")
    try:
        data = base64.b64decode(words[1], validate=True)
        (length,) = struct.unpack(">I", data[:4])
    except (binascii.Error, struct.error):
        raise NotAPublicKey(file=file, reason="its second word is no key") from None
    if data[4 : 4 + length] != words[0].encode():
        raise NotAPublicKey(file=file, reason="its first word is not the type of its key")
    return f"{words[0]} {words[1]}"
