# SPDX-License-Identifier: Apache-2.0
"""``sbdadm``: the units of COMSTAR's disk provider, by an older command with words of its own."""

from __future__ import annotations

import getopt
from collections.abc import Iterable

from tests.appliances.comstar.answers import Failure, Options, permuted
from tests.appliances.comstar.stmf import Stmf, Unit, UnitError, is_guid

HEADER = "\n\t      GUID                    DATA SIZE           SOURCE\n"
RULE = "--------------------------------  -------------------  ----------------\n"
FAILED = 5
"""How a failed create-lu or import-lu ends: an internal status and one, so not 0; which, nobody knows."""


class Sbdadm:
    """The command over the framework's units."""

    def __init__(self, stmf: Stmf) -> None:
        self.stmf = stmf

    def run(self, words: list[str]) -> str:
        """Run ``sbdadm WORDS``; returns what it prints. Raises Failure."""
        commands = {
            "create-lu": ("s:", self._create),
            "import-lu": ("", self._import),
            "modify-lu": ("s:", self._modify),
            "delete-lu": ("k", self._delete),
            "list-lu": ("", self._list),
        }
        if not words or words[0].lower() not in commands:
            raise Failure(stdout="sbdadm: invalid subcommand\nUsage: sbdadm [subcommand] ...")
        letters, command = commands[words[0].lower()]
        try:
            return command(permuted(words[1:], letters))
        except getopt.GetoptError as error:
            raise Failure(stdout=f"sbdadm: unrecognized option: -{error.opt}\nUsage: ...") from error

    def _create(self, options: Options) -> str:
        try:
            unit = self.stmf.create(options.operands[0], options.get("-s"), {})
        except UnitError as error:
            raise _failure(error, FAILED) from error
        return "\nCreated the following LU:\n" + _table([unit])

    def _import(self, options: Options) -> str:
        try:
            unit = self.stmf.import_(options.operands[0])
        except UnitError as error:
            raise _failure(error, FAILED) from error
        return "\nImported the following LU:\n" + _table([unit])

    def _list(self, options: Options) -> str:
        units = self.stmf.units.values()
        return f"\nFound {len(units)} LU(s)\n" + _table(units) if units else ""

    def _modify(self, options: Options) -> str:
        operand, size = options.operands[0], options.get("-s") or ""
        if operand.startswith("/"):
            unit = next((one for one in self.stmf.units.values() if one.path == operand), None)
        else:
            _check(operand)
            unit = self.stmf.units.get(operand.lower())
        if unit is None:
            raise Failure(f"sbdadm: {operand}: not found")
        try:
            self.stmf.resize(unit, size)
        except UnitError as error:
            raise _failure(error, 1) from error
        return ""

    def _delete(self, options: Options) -> str:
        guid = options.operands[0]
        _check(guid)
        if not self.stmf.delete(guid.lower(), "-k" in options):
            raise Failure(f"sbdadm: {guid}: not found")
        return ""


def _check(guid: str) -> None:
    if not is_guid(guid):
        raise Failure(f"sbdadm: {guid}: must be 32 hexadecimal digits long")


def _failure(error: UnitError, status: int) -> Failure:
    reason = "unknown error" if error.reason == "file size invalid" else error.reason
    operand = f"{error.operand}: " if error.operand and reason == "in use" else ""
    return Failure(f"sbdadm: {operand}{reason}", status)


def _table(units: Iterable[Unit]) -> str:
    return HEADER + RULE + "".join(f"{unit.guid}  {unit.size:<19}  {unit.path}\n" for unit in units)
