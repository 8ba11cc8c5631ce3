# SPDX-License-Identifier: Apache-2.0
"""Runs in a node of the lab: does with the library what one line of JSON on standard input says.

It prints the result as JSON, and how long that took; on an error it ends with that one's exit status, and its
sentence on stderr.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from extstorage_common import connectors
from extstorage_common.deadline import Deadline
from extstorage_common.errors import ExtStorageError
from extstorage_common.targets import lio


def export(told: dict[str, Any]) -> None:
    """Export a device to some initiators, with a tuple of secrets for each."""
    lio.load_modules(Deadline(60))
    initiators = {name: lio.Secrets(*secrets) for name, secrets in told["initiators"].items()}
    lio.ensure(_export(told), initiators)


def unexport(told: dict[str, Any]) -> None:
    """End an export."""
    lio.remove(_export(told))


def _export(told: dict[str, Any]) -> lio.Export:
    return lio.Export(told["name"], told["iqn"], told["device"], told["serial"], told["portals"])


def connector(told: dict[str, Any]) -> dict[str, Any]:
    """Call a method of a connector."""
    driver = connectors.load(told["connector"])(Deadline(told["seconds"]))
    arguments = told["arguments"]
    if told["method"] == "connect_volume":
        arguments = [*arguments, "", lambda device: None]
    return {"result": getattr(driver, told["method"])(*arguments)}


def main() -> None:
    told = json.load(sys.stdin)
    began = time.monotonic()
    try:
        done = globals()[told["function"]](told)
        print(json.dumps({**(done or {}), "seconds": time.monotonic() - began}))
    except ExtStorageError as error:
        print(json.dumps({"seconds": time.monotonic() - began}))
        print(error, file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
