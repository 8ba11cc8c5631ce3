# SPDX-License-Identifier: Apache-2.0
"""Gives one order to a modelled appliance (see command.py): control.py SOCKET ORDER; prints its answer."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any


def give(path: str, order: str) -> str:
    """Give an order, a line of JSON; the answer, a line of JSON too."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(order.encode() + b"\n")
        with connection.makefile() as answers:
            return answers.readline()


def result(answer: str) -> Any:
    """What an answer says. Raises RuntimeError for an error."""
    said = json.loads(answer)
    if "error" in said:
        raise RuntimeError(said["error"])
    return said["result"]


if __name__ == "__main__":
    sys.stdout.write(give(sys.argv[1], sys.argv[2]))
