# SPDX-License-Identifier: Apache-2.0
"""The rest of the door: environment in, stdout and exit status out.

This is the one place of a script where an error becomes a sentence and an exit status.
"""

from __future__ import annotations

import gc
import os
import sys
import time

from extstorage_common import backends, calllog, libraries, paths, provider, worker
from extstorage_common.errors import ExtStorageError, Usage, one_line, unforeseen
from extstorage_common.request import VARIABLES, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extstorage_common.deadline import Deadline
    from extstorage_common.provider import Provider
    from extstorage_common.worker import Asking


def main(directory: str, action: str, arguments: Sequence[str]) -> int:
    """Run ``action`` of the provider in ``directory`` (as it was called) for the environment's request."""
    started = time.monotonic()
    # Collecting garbage would cost more time than any call lives.
    gc.disable()
    directory = os.path.abspath(directory)
    # A provider's directory can be on a share that is to be unmounted some day.
    os.chdir("/")
    call = _Call(directory, action)
    try:
        if action not in VARIABLES:
            raise Usage(usage=f"this is run as one of: {', '.join(VARIABLES)}")
        if arguments and arguments[0] in ("-h", "--help"):
            _print(_usage(call.provider, action))
            return 0
        if arguments and action != "verify":
            raise Usage(usage=_synopsis(action) + " (see --help)")
        _print("".join(line + "\n" for line in call.run(arguments)))
        status, sentence = 0, ""
    except ExtStorageError as error:
        status, sentence = error.status, call.sentence(error)
    except Exception as error:
        _trace()
        told = unforeseen(error)
        status, sentence = told.status, call.sentence(told)
    if sentence:
        os.write(2, sentence.encode("utf-8", "backslashreplace") + b"\n")
    call.log(status, sentence, time.monotonic() - started)
    return status


START_SECONDS = 50.0
"""For reading the configuration, which then says how long the call may last."""


class _Call:
    """One call, and what is known of it for a sentence or the log at any moment."""

    def __init__(self, directory: str, action: str) -> None:
        self.directory = directory
        self.provider = os.path.basename(directory)
        self.action = action
        self.volume = one_line(os.environ.get("VOL_NAME", ""))[:140]
        self.pool = ""

    def run(self, arguments: Sequence[str]) -> list[str]:
        """The lines for stdout. Raises the errors of ``errors.py``."""
        if self.action == "verify":
            from extstorage_common import verify

            return verify.run(self.provider, os.path.realpath(self.directory), arguments, self._asking)
        return perform(Request(self.action, os.environ), self.provider, self._load, self._asking)

    def _load(self) -> Provider:
        directory = os.path.realpath(self.directory)
        libraries.start(os.path.basename(directory))
        return provider.load(self.provider, directory)

    def _asking(self, pool: str) -> None:
        self.pool = pool

    def sentence(self, error: ExtStorageError) -> str:
        """What was being done, to what, where, and why it failed: one line."""
        if isinstance(error, Usage):
            return str(error)
        volume = f" of volume {self.volume}" if self.volume and self.action != "verify" else ""
        pool = f" in pool {self.pool}" if self.pool else ""
        return f"{self.provider}: {self.action}{volume}{pool} failed: {error}"

    def log(self, status: int, sentence: str, seconds: float) -> None:
        """One line a call."""
        words = [paths.node_name(), self.action, self.volume or "-", self.pool or "-"]
        calllog.write(self.provider, words, status, seconds, sentence)


def perform(
    request: Request, name: str, load: Callable[[], Provider], asking: Asking = worker.nobody_listens
) -> list[str]:
    """Do what is asked of the provider ``name``, within its pool's time; returns the lines for stdout.

    ``load`` is called by the child, since what is imported before the fork costs the child more. ``asking``
    is told each pool before it is asked. Raises the errors of ``errors.py``.
    """

    def work(deadline: Deadline, asking: Asking) -> list[str]:
        from extstorage_common.workflow import Workflow

        loaded = load()
        workflow = Workflow(request, loaded)
        pool = workflow.likely_pool()
        bulk = backends.is_bulk(loaded.backend, request.action, pool)
        deadline.restart(pool["copy_timeout" if bulk else "timeout"])
        return workflow.run(deadline, asking)

    return worker.run(work, name, START_SECONDS, asking)


def _synopsis(action: str) -> str:
    return f"usage: {action}{' [CHECK ... | --report]' if action == 'verify' else ''}"


def _usage(provider: str, action: str) -> str:
    lines = [
        _synopsis(action),
        "",
        f"The '{action}' script of Ganeti's external storage provider '{provider}'.",
    ]
    if VARIABLES[action]:
        lines += [f"Reads from the environment: {', '.join(VARIABLES[action])}, and the parameters EXTP_*."]
    else:
        lines += ["Runs the named checks, or all: can volumes of this provider be used on this node?"]
    return "\n".join([*lines, "See ganeti-extstorage-interface(7)."]) + "\n"


def _print(text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(1, data) :]


def _trace() -> None:
    if os.environ.get("EXTSTORAGE_DEBUG") == "1":
        sys.excepthook(*sys.exc_info())
