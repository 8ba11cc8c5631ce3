# SPDX-License-Identifier: Apache-2.0
"""CLIQ's grammar: ``verb parameter=value ...`` (CLI user guide, pages 7 to 11)."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.appliances.lefthand.codes import (
    MISSING_METHOD,
    MISSING_PARAMETER,
    PARAMETER_FORMAT,
    PARAMETER_REPEAT,
    CliqError,
)

UNITS = {"KB": 10, "MB": 20, "GB": 30, "TB": 40, "PB": 50}
FLAGS = {"1": True, "0": False, "true": True, "false": False}


class Parameters:
    """The values of one command, by their names in lower case."""

    def __init__(self, given: dict[str, str]) -> None:
        self.given = given
        self.asked: set[str] = set()

    def find(self, name: str) -> str | None:
        """A value that need not be there."""
        self.asked.add(name.lower())
        return self.given.get(name.lower())

    def text(self, name: str) -> str:
        """A value that must be there."""
        value = self.find(name)
        if value is None:
            raise CliqError(MISSING_PARAMETER, f"Parameter '{name}' is missing.")
        return value

    def words(self, name: str) -> list[str]:
        """The elements of a composite value."""
        return self.text(name).split(";")

    def flag(self, name: str, default: bool) -> bool:
        """A boolean."""
        value = self.find(name)
        if value is None:
            return default
        if value.lower() not in FLAGS:
            raise CliqError(PARAMETER_FORMAT, f"Parameter '{name}' is not a boolean: {value}")
        return FLAGS[value.lower()]

    def size(self, name: str) -> int | None:
        """A size in bytes; its unit is part of it."""
        value = self.find(name)
        if value is None:
            return None
        found = re.fullmatch(r"(\d+)([KMGTP]B)", value, re.ASCII | re.IGNORECASE)
        if not found:
            raise CliqError(PARAMETER_FORMAT, f"Parameter '{name}' is not a size: {value}")
        return int(found[1]) << UNITS[found[2].upper()]

    def each(self, name: str) -> list[Parameters]:
        """One set of values for each element of ``name``: a shorter list repeats its last element."""
        count = len(self.words(name))
        lists = {key: value.split(";") for key, value in self.given.items()}
        sets = [
            Parameters({key: values[min(index, len(values) - 1)] for key, values in lists.items()})
            for index in range(count)
        ]
        for one in sets:
            one.asked = self.asked
        return sets


class Command(NamedTuple):
    """A line, taken apart; the verb in lower case."""

    verb: str
    parameters: Parameters


def split(line: str) -> list[str]:
    """The words of a line; blanks between double quotes belong to a word."""
    if line.count('"') % 2:
        raise CliqError(PARAMETER_FORMAT, "A quotation mark is missing.")
    words, word, quoted, begun = [], "", False, False
    for char in line:
        if char == '"':
            quoted, begun = not quoted, True
        elif char.isspace() and not quoted:
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + char, True
    return [*words, word] if begun else words


def parse(line: str) -> Command:
    """Take a line apart. Raises CliqError."""
    words = split(line)
    verb = words.pop(0) if words and "=" not in words[0] else ""
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CliqError(PARAMETER_FORMAT, f"'{word}' is not of the form parameter=value.")
        if name.lower() in given:
            raise CliqError(PARAMETER_REPEAT, f"Parameter '{name}' is given more than once.")
        given[name.lower()] = value
    verb = verb or given.pop("method", "")
    if not verb:
        raise CliqError(MISSING_METHOD, "There is no method.")
    return Command(verb.lower(), Parameters(given))
