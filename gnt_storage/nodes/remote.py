# SPDX-License-Identifier: Apache-2.0
"""One command on many nodes, a bounded number at a time, by OpenSSH as Ganeti itself calls it.

A node that does not answer is an answer, too: the sentence says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shlex
import signal
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass

from extstorage_common import paths
from gnt_storage.nodes.inventory import Node

PARALLEL = 32
FILES = 4
"""Open files that a running command takes here: three pipes, and what tells of its end."""
SPARE_FILES = 16
CONNECT_SECONDS = 10
MAX_OUTPUT = 8 << 20
"""Bytes of an answer that are kept; more is no answer that any command of ours would give."""
NO_CONNECTION = 255
"""ssh's exit status when it failed itself."""

REASONS = (
    ("Host key verification failed", "its host key is not the one known for this cluster"),
    ("IDENTIFICATION HAS CHANGED", "its host key is not the one known for this cluster"),
    ("No ED25519 host key is known", "its host key is not known"),
    ("host key is known", "its host key is not known"),
    ("Permission denied", "it does not accept this node's SSH key"),
    ("Connection refused", "its SSH port refuses connections"),
    ("Could not resolve", "its name can't be resolved"),
    ("timed out", "it does not answer"),
    ("No route to host", "it does not answer"),
    ("Network is unreachable", "there is no route to it"),
    ("Connection reset", "the connection was reset"),
    ("Connection closed", "the connection was closed"),
)


@dataclass(frozen=True)
class Answer:
    """What came from a node: the command's status and output, or the ``problem`` why nothing came.

    ``began`` and ``ended`` are this node's clock around it, in seconds since the epoch.
    """

    node: Node
    status: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    problem: str | None = None
    began: float = 0.0
    ended: float = 0.0


def run(
    nodes: Sequence[Node],
    command: Sequence[str],
    stdin: bytes = b"",
    *,
    parallel: int = PARALLEL,
    timeout: float,
) -> Generator[Answer, None, None]:
    """Run ``command`` on all nodes with ``stdin`` as its input; yields the answers as they come.

    Each node gets ``timeout`` seconds from the moment its turn comes. Raises nothing for a node. No more run
    at a time than this process may have open files for.
    """
    loop = asyncio.new_event_loop()
    answers = _answers(nodes, command, stdin, min(parallel, _affordable()), timeout)
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(answers))
            except StopAsyncIteration:
                return
    finally:
        loop.run_until_complete(answers.aclose())
        loop.close()


def _affordable() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (limit - len(os.listdir("/proc/self/fd")) - SPARE_FILES) // FILES)


async def _answers(
    nodes: Sequence[Node], command: Sequence[str], stdin: bytes, parallel: int, timeout: float
) -> AsyncGenerator[Answer, None]:
    waiting = iter(nodes)
    running: set[asyncio.Task[Answer]] = set()
    try:
        while True:
            while len(running) < parallel and (node := next(waiting, None)):
                running.add(asyncio.create_task(_run_on(node, command, stdin, timeout)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _run_on(node: Node, command: Sequence[str], stdin: bytes, timeout: float) -> Answer:
    line = list(command) if node.is_local else ssh_command(node, command)
    pipe = asyncio.subprocess.PIPE
    began = time.time()
    try:
        process = await asyncio.create_subprocess_exec(
            *line, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        return Answer(node, problem=f"{line[0]} can't be run: {error.strerror}")
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr, _ = await asyncio.gather(
                _read(process.stdout), _read(process.stderr), _write(process.stdin, stdin)
            )
            status = await process.wait()
    except TimeoutError:
        return Answer(node, problem=f"it did not answer within {timeout:.0f} s")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # ended, and asyncio is about to learn it
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if len(stdout) > MAX_OUTPUT:
        return Answer(node, problem="it answered with more than anybody asked for")
    if status == NO_CONNECTION and not node.is_local:
        return Answer(node, status, stdout, stderr, _reason(stderr.decode(errors="replace")))
    return Answer(node, status, stdout, stderr, began=began, ended=time.time())


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """All that comes; what is too much is taken from the sender, and dropped."""
    assert stream
    content = b""
    while chunk := await stream.read(1 << 16):
        if len(content) <= MAX_OUTPUT:
            content += chunk
    return content


async def _write(stream: asyncio.StreamWriter | None, content: bytes) -> None:
    assert stream
    stream.write(content)
    # Its status and stderr say why it did not listen to the end.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await stream.drain()
    stream.close()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await stream.wait_closed()


def ssh_command(node: Node, command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` on another node: Ganeti's own options, each word quoted once."""
    options = ["BatchMode=yes", "EscapeChar=none", "LogLevel=ERROR", f"ConnectTimeout={CONNECT_SECONDS}"]
    line = ["ssh", "-T"]
    if config := paths.ssh_config():
        line += ["-F", config]
    elif (cluster := paths.cluster_name()) != "-":
        # Ganeti gives all nodes one host key, known by the cluster's name.
        known_hosts = os.path.join(paths.ssconf_dir(), "known_hosts")
        options += ["StrictHostKeyChecking=yes", "HashKnownHosts=no", "CheckHostIP=no"]
        options += [f"GlobalKnownHostsFile={known_hosts}", "UserKnownHostsFile=/dev/null"]
        options += [f"HostKeyAlias={cluster}", f"Port={node.port}", "User=root"]
    line += [f"-o{option}" for option in options]
    return [*line, "--", node.address, shlex.join(command)]


def _reason(stderr: str) -> str:
    for words, reason in REASONS:
        if words in stderr:
            return reason
    lines = stderr.strip().splitlines()
    return f"ssh failed: {lines[-1]}" if lines else "ssh failed without a word"
