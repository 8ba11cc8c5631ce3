# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage info``: what providers there are on this node, and what they can be told."""

from __future__ import annotations

import os
from typing import Any

import click

from extstorage_common.errors import ExtStorageError, NotFound
from extstorage_common.provider import Provider
from gnt_storage import ganeti, output, providers, suite_provider
from gnt_storage.providers import ProviderDirectory


class SomeNotFound(NotFound):
    """Providers that were asked for are not there."""

    template = "there is no provider {names}"


@click.command()
@click.argument("names", metavar="[PROVIDER]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print {version, providers: [...]} as JSON.")
def info(names: tuple[str, ...], as_json: bool) -> None:
    """Show the providers on this node: as Ganeti does, then what this suite knows of its own.

    PROVIDER is a name on Ganeti's search path, or a directory.

    \b
    Example:
      gnt-storage info file
    """
    found = providers.discover()
    chosen = [entries[0] for name, entries in found.items() if not names or name in names]
    directories = [name for name in names if name not in found and os.path.isdir(name)]
    chosen += [providers.examine(*os.path.split(os.path.abspath(name))) for name in directories]
    missing = [name for name in names if name not in found and name not in directories]
    if as_json:
        output.print_json({"version": 1, "providers": [_document(provider) for provider in chosen]})
    else:
        for provider in chosen:
            _print(provider)
    if missing:
        raise SomeNotFound(names=", ".join(missing))


def _suite_provider(provider: ProviderDirectory) -> Provider | None:
    return suite_provider.load(provider.path) if suite_provider.is_of_suite(provider.path) else None


def _document(provider: ProviderDirectory) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": provider.name,
        "path": provider.path,
        "valid": provider.valid,
        "message": provider.message,
        "parameters": [list(parameter) for parameter in provider.parameters],
    }
    try:
        own = _suite_provider(provider)
    except ExtStorageError as error:
        return {**document, "error": str(error)}
    if own is not None:
        document["backend"] = own.backend.NAME
        document["pools"] = own.configuration.pool_names()
        document["capabilities"] = vars(own.backend.CAPABILITIES)
        document["options"] = [
            {
                "name": option.name,
                "type": option.kind.expects,
                "default": option.default,
                "owner": option.owner,
                "help": option.help,
            }
            for option in own.table
        ]
    return document


def _print(provider: ProviderDirectory) -> None:
    click.echo(f"{provider.name}:")
    if provider.valid:
        click.echo("  - Valid for nodegroups:")
        click.echo(f"      {ganeti.node_group()}")
        click.echo("  - Supported parameters:")
        for parameter in provider.parameters:
            click.echo(f"      {': '.join(parameter)}")
    else:
        click.echo("  - Invalid for all nodegroups")
        click.echo(f"  - Reason: {provider.message}")
    try:
        own = _suite_provider(provider)
    except ExtStorageError as error:
        click.echo(f"  - Not usable: {error}")
        own = None
    if own is not None:
        _print_own(own)
    click.echo("")


def _print_own(own: Provider) -> None:
    click.echo(f"  - Backend: {own.backend.NAME}, configured in {own.configuration.file}")
    click.echo(f"  - Pools: {', '.join(own.configuration.pool_names())}")
    click.echo("  - Capabilities:")
    for name, value in vars(own.backend.CAPABILITIES).items():
        said = {True: "yes", False: "no"}.get(value, value)
        click.echo(f"      {name.replace('_', ' ')}: {said}")
    click.echo("  - Options:")
    rows = [
        (option.name, option.kind.expects, option.default_text, option.set_by, option.help)
        for option in own.table
    ]
    output.print_table(("option", "value", "default", "set by", "meaning"), rows)
