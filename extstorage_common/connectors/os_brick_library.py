# SPDX-License-Identifier: Apache-2.0
"""OpenStack's os-brick, prepared for one call: within this process, without a daemon, and silent.

It is imported when it is needed, since that takes longer than all the rest of a call. Secrets never come to
it: it is given connections without any, and finds the records with which the sessions were begun.
"""

from __future__ import annotations

import os
import sys

from extstorage_common import paths
from extstorage_common.errors import ExtStorageError, NodeUnfit, SystemRefused
from extstorage_common.transports import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from extstorage_common.deadline import Deadline

    Execute = Callable[..., tuple[str, str]]

PACKAGES = ("/usr/local/lib/python{0}.{1}/dist-packages", "/usr/lib/python3/dist-packages")
SCANS = 3


def directories() -> list[str]:
    """Where packages are, which an isolated interpreter does not look at."""
    return [directory.format(*sys.version_info) for directory in PACKAGES]


def is_installed() -> bool:
    """Whether the library can be found."""
    return any(os.path.isdir(f"{directory}/os_brick") for directory in [*directories(), *sys.path])


def connect_volume(properties: Mapping[str, Any], multipath: bool, deadline: Deadline) -> Mapping[str, str]:
    """What os-brick's iSCSI connector makes of a connection: ``path``, and ``multipath_id`` for a map.

    Raises SystemRefused, NodeUnfit.
    """
    import shutil
    import tempfile

    # Whoever calls has the target's lock; of os-brick's own, a file for each target would stay.
    os.makedirs(paths.run_dir(), mode=0o700, exist_ok=True)
    lock_path = tempfile.mkdtemp(prefix="os-brick-", dir=paths.run_dir())
    try:
        connector = _connector(multipath, lock_path, deadline)
        found: Mapping[str, str] = connector.connect_volume(dict(properties))
    except ExtStorageError:
        raise
    except Exception as error:
        raise SystemRefused(what="connecting by os-brick", reason=str(error).splitlines()[0]) from error
    finally:
        shutil.rmtree(lock_path, ignore_errors=True)
    return found


def _connector(multipath: bool, lock_path: str, deadline: Deadline) -> Any:
    """An os-brick connector whose commands end with the deadline. Raises NodeUnfit."""
    sys.path += [directory for directory in directories() if directory not in sys.path]
    _stand_in_for_eventlet()
    import logging

    try:
        import os_brick
        from os_brick import privileged
        from os_brick.initiator.connectors import iscsi
        from oslo_config import cfg
    except ImportError as error:
        raise NodeUnfit(reason=f"os-brick can't be used ({error}); install python3-os-brick") from None
    logging.getLogger().addHandler(logging.NullHandler())
    # Else it would read the arguments of this program and files below /etc.
    cfg.CONF([], project="ganeti-extstorage", default_config_files=[], default_config_dirs=[])
    os_brick.setup(cfg.CONF)
    cfg.CONF.set_override("lock_path", lock_path, group="os_brick")
    privileged.default.set_client_mode(False)
    return iscsi.ISCSIConnector(
        None, use_multipath=multipath, device_scan_attempts=SCANS, execute=_execute(deadline)
    )


def _stand_in_for_eventlet() -> None:
    """Keep oslo from importing eventlet, which takes as long as all else and is not used here."""
    from types import ModuleType

    if "eventlet" not in sys.modules:
        eventlet, patcher = ModuleType("eventlet"), ModuleType("eventlet.patcher")
        patcher.is_monkey_patched = lambda module: False  # type: ignore[attr-defined]
        eventlet.patcher = patcher  # type: ignore[attr-defined]
        sys.modules.update({"eventlet": eventlet, "eventlet.patcher": patcher})


def _execute(deadline: Deadline) -> Execute:
    """What os-brick runs commands with.

    Not with oslo's own function, whose children are forks of this process, large as it is by now. And it
    changes no record: they say what they shall say.
    """
    from oslo_concurrency.processutils import ProcessExecutionError

    def execute(
        *command: object, check_exit_code: Any = True, process_input: str | bytes = b"", **_: object
    ) -> tuple[str, str]:
        words = [str(word) for word in command]
        if words[0] == "iscsiadm" and "update" in words:
            return "", ""
        data = process_input.encode() if isinstance(process_input, str) else process_input
        try:
            ended = local.run(words, deadline, data)
        except ExtStorageError as error:
            raise ProcessExecutionError(cmd=words[0], description=str(error)) from error
        stdout, stderr = (text.decode(errors="replace") for text in (ended.stdout, ended.stderr))
        if check_exit_code is not False and ended.status not in _allowed(check_exit_code):
            raise ProcessExecutionError(stdout, stderr, ended.status, words[0])
        return stdout, stderr

    return execute


def _allowed(check_exit_code: Any) -> list[int]:
    if check_exit_code is True or check_exit_code is None:
        return [0]
    return [check_exit_code] if isinstance(check_exit_code, int) else list(check_exit_code)
