# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage``: the group of commands, and the one place where an error becomes a sentence."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click

from extstorage_common import __version__
from extstorage_common.errors import ExtStorageError, unforeseen
from gnt_storage.commands.conformance import conformance
from gnt_storage.commands.controller import controller
from gnt_storage.commands.diagnose import diagnose
from gnt_storage.commands.hook import hook
from gnt_storage.commands.info import info
from gnt_storage.commands.install import install
from gnt_storage.commands.node import node
from gnt_storage.commands.orphans import orphans
from gnt_storage.commands.pool import pool
from gnt_storage.commands.uninstall import uninstall
from gnt_storage.commands.volume import volume


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gnt-storage")
def cli() -> None:
    """Look after the storage providers of Ganeti's ext disk template.

    \b
    Exit status: 0 well, 1 a bug, or something was found wrong, 2 bad request, 3 configuration,
    4 not found, 5 exists, 6 busy, 7 held elsewhere, 8 unreachable, 9 refused, 10 timed out,
    11 no space, 12 wrong device.
    """


for command in (
    conformance,
    controller,
    diagnose,
    hook,
    info,
    install,
    node,
    orphans,
    pool,
    uninstall,
    volume,
):
    cli.add_command(command)


def main() -> NoReturn:
    """Run a command line; what goes wrong is one line on stderr and an exit status."""
    try:
        status = cli.main(prog_name="gnt-storage", standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", 6)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        see = f"; see {context.command_path} --help" if context else ""
        sentence = " ".join(error.format_message().split()).rstrip(".")
        _fail(f"{sentence}{see}", 2)
    except ExtStorageError as error:
        _fail(str(error), error.status)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except Exception as error:
        if os.environ.get("EXTSTORAGE_DEBUG") == "1":
            traceback.print_exc()
        told = unforeseen(error)
        _fail(str(told), told.status)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(sentence: str, status: int) -> NoReturn:
    click.echo(f"gnt-storage: {sentence}", err=True)
    sys.exit(status)
