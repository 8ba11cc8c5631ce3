# SPDX-License-Identifier: Apache-2.0
"""Programs of ours that run on a node which need not have anything of ours: sent on standard input."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from inspect import getsource

COMMAND = (
    "/usr/bin/python3",
    "-IS",
    "-c",
    "import sys; exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))",
)
"""What a node runs; what follows the program on standard input is left to it."""

_PROGRAM = """
import sys, types
if sys.version_info < (3, 11):
    sys.exit("Python here is " + sys.version.split()[0] + ", and 3.11 or newer is needed")
sys.modules["gnt_storage"] = types.ModuleType("gnt_storage")
for name, source in {sources!r}.items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    setattr(sys.modules["gnt_storage"], name.rpartition(".")[2], module)
module.main{arguments!r}
"""


def program(modules: Sequence[str], *arguments: object) -> bytes:
    """The standard input that makes ``modules`` there and calls ``main`` of the last one.

    A module stands after those that it imports; beside them they import the standard library only.
    """
    sources = {name: getsource(import_module(name)) for name in modules}
    text = _PROGRAM.format(sources=sources, arguments=arguments).encode()
    return f"{len(text)}\n".encode() + text
