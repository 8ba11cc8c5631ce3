# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage volume``: volumes for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

import click

from extstorage_common.errors import ExtStorageError, Refused
from extstorage_common.provider import Provider
from gnt_storage import output, volumes
from gnt_storage.suite_provider import Failure
from gnt_storage.volumes import Told

UNITS = {"": 0, "m": 0, "g": 10, "t": 20}


class SomePoolsSilent(ExtStorageError):
    """Pools that could not be asked; they have been printed."""

    template = "{count} of the pools could not be asked, so there may be more volumes"


class KnownToGaneti(Refused):
    """Ganeti would not notice."""

    template = (
        "it is disk {disk} of instance {instance}; let Ganeti do it: {command} (or say --despite-ganeti)"
    )


def mebibytes(text: str) -> int:
    """A size as Ganeti takes it, in MiB unless it ends in g or t. Raises click.BadParameter."""
    matched = re.fullmatch(r"(\d+)([mgt]?)i?b?", text.lower())
    if not matched or not int(matched[1]):
        raise click.BadParameter(f"{text!r} is no size; 512, 512m, 10g or 1t are")
    return int(matched[1]) << UNITS[matched[2]]


Command = TypeVar("Command", bound=Callable[..., object])


def _provider_option(command: Command) -> Command:
    return click.option(
        "--provider", metavar="P", help="The volume's provider; else it is looked for in all that are here."
    )(command)


def _json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print {version, ...} as JSON.")(command)


@click.group()
def volume() -> None:
    """Look at volumes, and act on them as the providers' scripts do.

    \b
    JSON of what acts: {"version": 1, "action": NAME, "provider": NAME, "volume": NAME, "lines": [TEXT, ...]},
    the lines as the script prints them; of release: {"version": 1, "action": "release", "volume": NAME,
    "node": NAME, "freed": ["open (exclusive)" | "open (shared)" | "attached", ...]}
    """


@volume.command("list")
@click.argument("names", metavar="[PROVIDER]...", nargs=-1)
@_json_option
def list_command(names: tuple[str, ...], as_json: bool) -> None:
    """List the volumes of PROVIDERs, or of all that are here.

    The instance is shown where Ganeti's configuration is: on master candidates.

    \b
    Example:
      gnt-storage volume list file

    \b
    JSON: {"version": 1, "volumes": [{"provider": NAME, "pool": NAME, "name": NAME, "state": "complete" |
    "half-made" | "being made", "size": BYTES, "used": BYTES, "attached": [NODE, ...], "opened": [[NODE,
    "exclusive" | "shared"], ...], "cluster": NAME or "-", "instance": NAME or "", "disk": NUMBER or -1,
    "more": {NAME: TEXT, ...}}, ...], "failures": [{"provider": NAME, "pool": NAME, "status": NUMBER,
    "reason": TEXT}, ...]}
    """
    told = list(volumes.told(names))
    found = sorted((one for one in told if isinstance(one, Told)), key=lambda one: (one.provider, one.name))
    failures = [one for one in told if isinstance(one, Failure)]
    if as_json:
        documents = [asdict(one) for one in found]
        output.print_json({"version": 1, "volumes": documents, "failures": [asdict(one) for one in failures]})
    else:
        if found:
            output.print_table(
                ("volume", "pool", "size", "used", "state", "attached", "open", "instance"),
                [_row(one) for one in found],
            )
        for one in failures:
            click.echo(f"{one.provider}: pool '{one.pool}': {one.reason}", err=True)
    if failures:
        error = SomePoolsSilent(count=len(failures))
        error.status = failures[0].status
        raise error


def _row(one: Told) -> tuple[str, ...]:
    opened = ", ".join(f"{node} ({mode})" for node, mode in one.opened)
    instance = f"{one.instance}/{one.disk}" if one.instance else "-"
    size, used = (output.size(number) if one.size else "-" for number in (one.size, one.used))
    place = f"{one.provider}/{one.pool}"
    return one.name, place, size, used, one.state, ", ".join(one.attached) or "-", opened or "-", instance


@volume.command()
@click.argument("name")
@_provider_option
@_json_option
def show(name: str, provider: str | None, as_json: bool) -> None:
    """Show all that is known of the volume NAME.

    \b
    Example:
      gnt-storage volume show f7c1.ext.disk0

    \b
    JSON: {"version": 1, "volume": {...}}, the volume as "gnt-storage volume list --json" has it
    """
    one = volumes.tell(name, provider)
    if as_json:
        output.print_json({"version": 1, "volume": asdict(one)})
        return
    told = asdict(one)
    more = told.pop("more")
    told["opened"] = ", ".join(f"{node} ({mode})" for node, mode in one.opened)
    told["attached"] = ", ".join(one.attached)
    told["disk"] = str(one.disk) if one.instance else ""
    told["size"], told["used"] = output.size(one.size), output.size(one.used)
    for key, value in {**told, **more}.items():
        click.echo(f"{key + ':':<12} {value or '-'}")


@volume.command()
@click.argument("name")
@click.option(
    "--size", type=mebibytes, metavar="SIZE", required=True, help="As for Ganeti: in MiB, or 512m, 10g, 1t."
)
@click.option("--provider", metavar="P", required=True, help="The provider that makes it.")
@click.option("--param", "parameters", metavar="K=V", multiple=True, help="A disk parameter, as for --disk.")
@_json_option
def create(name: str, size: int, provider: str, parameters: tuple[str, ...], as_json: bool) -> None:
    """Make a volume, which Ganeti does not know.

    \b
    Example:
      gnt-storage volume create spare --size 10g --provider file --param pool=gold
    """
    variables = {"VOL_NAME": name, "VOL_SIZE": str(size)}
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if not equals:
            raise click.BadParameter(f"{parameter!r} is not K=V", param_hint="--param")
        variables[f"EXTP_{key.upper()}"] = value
    _act(volumes.locate(name, provider), "create", variables, as_json)


@volume.command()
@click.argument("name")
@_provider_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--despite-ganeti", is_flag=True, help="Also a disk that an instance has.")
@_json_option
def remove(name: str, provider: str | None, yes: bool, despite_ganeti: bool, as_json: bool) -> None:
    """Delete the volume NAME and its data for good.

    \b
    Example:
      gnt-storage volume remove spare
    """
    found = volumes.locate(name, provider)
    if not despite_ganeti:
        _refuse_known(name, "gnt-instance modify --disk {disk}:remove {instance}")
    if not yes:
        output.confirm(f"Delete volume {name} of provider {found.name} and all its data for good?")
    _act(found, "remove", {"VOL_NAME": name}, as_json)


@volume.command()
@click.argument("name")
@click.option(
    "--size",
    type=mebibytes,
    metavar="SIZE",
    required=True,
    help="The new size, as for Ganeti: in MiB, or 512m, 10g, 1t.",
)
@_provider_option
@click.option("--despite-ganeti", is_flag=True, help="Also a disk that an instance has.")
@_json_option
def grow(name: str, size: int, provider: str | None, despite_ganeti: bool, as_json: bool) -> None:
    """Grow the volume NAME; what this node has attached shows the new size.

    \b
    Example:
      gnt-storage volume grow spare --size 20g
    """
    if not despite_ganeti:
        _refuse_known(name, "gnt-instance grow-disk {instance} {disk} AMOUNT")
    one = volumes.tell(name, provider)
    variables = {"VOL_NAME": name, "VOL_SIZE": str(one.size >> 20), "VOL_NEW_SIZE": str(size)}
    _act(volumes.locate(name, one.provider), "grow", variables, as_json)


@volume.command()
@click.argument("name")
@_provider_option
@_json_option
def attach(name: str, provider: str | None, as_json: bool) -> None:
    """Attach the volume NAME on this node, and print its device.

    \b
    Example:
      gnt-storage volume attach spare
    """
    _act(volumes.locate(name, provider), "attach", {"VOL_NAME": name}, as_json)


@volume.command()
@click.argument("name")
@_provider_option
@_json_option
def detach(name: str, provider: str | None, as_json: bool) -> None:
    """Detach the volume NAME on this node.

    \b
    Example:
      gnt-storage volume detach spare
    """
    _act(volumes.locate(name, provider), "detach", {"VOL_NAME": name}, as_json)


@volume.command()
@click.argument("name")
@click.argument("snapshot")
@_provider_option
@_json_option
def snapshot(name: str, snapshot: str, provider: str | None, as_json: bool) -> None:
    """Make SNAPSHOT, a volume of its own with the data that the volume NAME has now.

    \b
    Example:
      gnt-storage volume snapshot f7c1.ext.disk0 before-upgrade
    """
    one = volumes.tell(name, provider)
    variables = {"VOL_NAME": name, "VOL_SNAPSHOT_NAME": snapshot, "VOL_SNAPSHOT_SIZE": str(one.size >> 20)}
    _act(volumes.locate(name, one.provider), "snapshot", variables, as_json)


@volume.command()
@click.argument("name")
@click.option("--node", required=True, metavar="N", help="The node that is dead.")
@_provider_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--even-if-alive", is_flag=True, help="Also if Ganeti does not have the node marked offline.")
@_json_option
def release(
    name: str, node: str, provider: str | None, yes: bool, even_if_alive: bool, as_json: bool
) -> None:
    """Free what a dead node holds of the volume NAME, so that another node can open it.

    Where the storage can, the node is shut out first. Where it can't, two nodes would write to the volume if
    the node is not really off.

    \b
    Example:
      gnt-storage volume release f7c1.ext.disk0 --node node2.example.com
    """
    if not yes:
        output.confirm(f"Is {node} off, so that nothing of it may go on?")
    freed = volumes.release(name, provider, node, even_if_alive)
    if as_json:
        output.print_json({"version": 1, "action": "release", "volume": name, "node": node, "freed": freed})
        return
    click.echo(f"{node} had it {' and '.join(freed)}" if freed else f"{node} had nothing of it")


def _act(provider: Provider, action: str, variables: dict[str, str], as_json: bool) -> None:
    """Do it, and print what the script would."""
    lines = volumes.act(provider, action, variables)
    if as_json:
        told = {"action": action, "provider": provider.name, "volume": variables["VOL_NAME"], "lines": lines}
        output.print_json({"version": 1, **told})
        return
    for line in lines:
        click.echo(line)


def _refuse_known(name: str, command: str) -> None:
    """Raise KnownToGaneti for the volume of an instance's disk."""
    disk = volumes.known_to_ganeti().get(name)
    if disk is not None and disk.instance:
        way = command.format(disk=disk.index, instance=disk.instance)
        raise KnownToGaneti(disk=disk.index, instance=disk.instance, command=way)
