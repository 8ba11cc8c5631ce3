# SPDX-License-Identifier: Apache-2.0
"""Files with a secret, which the configuration names: passwords and keys, for root alone."""

from __future__ import annotations

import os

from extstorage_common.errors import ConfigurationError


class BadSecret(ConfigurationError):
    template = "{file} can't be used: {reason}"


def read(file: str) -> str:
    """All that a secret's file says. Raises BadSecret, also if others than its owner can read it."""
    try:
        with open(file, encoding="utf-8") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise BadSecret(file=file, reason="others can read it: chmod 600 it")
            return stream.read()
    except OSError as error:
        raise BadSecret(file=file, reason=error.strerror) from None
    except UnicodeDecodeError:
        raise BadSecret(file=file, reason="it is not UTF-8") from None


def read_line(file: str) -> str:
    """The one line of a secret's file, without its end. Raises BadSecret."""
    line, _, rest = read(file).partition("\n")
    if not line or rest:
        raise BadSecret(file=file, reason="it must have one line")
    return line
