# SPDX-License-Identifier: Apache-2.0
"""A controller with another version of the suite than its nodes."""

from __future__ import annotations

import sys

import pytest

from extstorage_common import __version__
from tests.conftest import CHECKOUT
from tests.controller.conftest import Consumer, Controller

OLD = """\
#!{python} -I
import sys

sys.path.insert(0, {checkout!r})
from extstorage_common import serve
from extstorage_common.backends.file import FileBackend

{changes}
sys.exit(serve.main(sys.argv[1:]))
"""


def let_controller_differ(controller: Controller, *changes: str) -> None:
    """Let these lines of Python change what answers there."""
    program = controller.directory / "other"
    program.write_text(OLD.format(python=sys.executable, checkout=str(CHECKOUT), changes="\n".join(changes)))
    program.chmod(0o755)
    keys = controller.keys.read_text()
    usual = str(CHECKOUT / "extstorage_common/controller")
    assert usual in keys
    controller.keys.write_text(keys.replace(usual, str(program)))


def test_an_older_controller_without_one_of_our_checks(controller: Controller, c1: Consumer) -> None:
    changes = "FileBackend.checks = lambda self: [('pool', self._check_pool)]"
    let_controller_differ(controller, "serve.__version__ = '0.0.1'", changes)
    c1.create()
    sentence = c1.fails(3, "verify")
    assert "which has version 0.0.1 of this suite, does not know check 'filesystem' of this node" in sentence
    assert f"which has {__version__}; install the same version on both" in sentence
    assert "check 'pool'" not in sentence


def test_an_older_controller_without_one_of_our_calls(controller: Controller, c1: Consumer) -> None:
    let_controller_differ(controller, "serve.__version__ = '0.0.1'", "del serve.METHODS['set_metadata']")
    c1.create()
    sentence = c1.fails(3, "setinfo", VOL_METADATA="x")
    assert "0.0.1 of this suite, does not know call 'set_metadata'" in sentence
    c1.ok("remove")


@pytest.mark.parametrize("action", ["create", "verify"])
def test_one_that_speaks_another_protocol(controller: Controller, c1: Consumer, action: str) -> None:
    let_controller_differ(controller, "serve.wire.PROTOCOL = 7")
    assert "which do not understand each other; install the same" in c1.call(action, VOL_SIZE="16").stderr
