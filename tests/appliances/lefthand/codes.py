# SPDX-License-Identifier: Apache-2.0
"""What CLIQ answers: results with their names, and the exit status that mirrors each."""

from __future__ import annotations

from typing import NamedTuple

FIRST_ERROR = 0x80001001
FIRST_ERROR_STATUS = 128


class Code(NamedTuple):
    """A result: below 0x80000000 something succeeded, else it is an error."""

    name: str
    result: int

    @property
    def text(self) -> str:
        """As the answer has it: decimal, or for an error hexadecimal without 0x."""
        return f"{self.result:x}" if self.is_error else str(self.result)

    @property
    def is_error(self) -> bool:
        """Whether nothing was done."""
        return self.result >= 0x80000000

    @property
    def status(self) -> int:
        """The exit status of the command."""
        return self.result - FIRST_ERROR + FIRST_ERROR_STATUS if self.is_error else self.result


SUCCESS = Code("CliqSuccess", 0)
NOTHING_DONE = Code("CliqNothingDone", 1)
OPERATION_PENDING = Code("CliqOperationPending", 2)
OPERATION_ABANDONED = Code("CliqOperationAbandoned", 3)
NOTHING_FOUND = Code("CliqNothingFound", 4)
SNAPSHOT_SET = Code("CliqSnapshotSet", 5)
VSS_SNAPSHOT_WARNING = Code("CliqVssSnapshotWarning", 6)
PIT_SNAPSHOT_WARNING = Code("CliqPITSnapshotWarning", 7)
PARAMETER_IGNORED = Code("CliqParameterIgnored", 8)
UNEXPECTED = Code("CliqUnexpected", 0x80001001)
XML_ERROR = Code("CliqXmlError", 0x80001002)
PARAMETER_FORMAT = Code("CliqParameterFormat", 0x80001003)
PARAMETER_REPEAT = Code("CliqParameterRepeat", 0x80001004)
MISSING_METHOD = Code("CliqMissingMethod", 0x80001005)
MISSING_PARAMETER = Code("CliqMissingParameter", 0x80001006)
UNRECOGNIZED_COMMAND = Code("CliqUnrecognizedCommand", 0x80001007)
VOLUME_NOT_FOUND = Code("CliqVolumeNotFound", 0x8000100C)
# No source has these two: the names follow the one above, the numbers are the next.
SNAPSHOT_NOT_FOUND = Code("CliqSnapshotNotFound", 0x8000100D)
SERVER_NOT_FOUND = Code("CliqServerNotFound", 0x8000100E)


class CliqError(Exception):
    """A command that failed: its code, and the only text that tells more."""

    def __init__(self, code: Code, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
