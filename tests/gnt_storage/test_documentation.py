# SPDX-License-Identifier: Apache-2.0
"""What the documentation shows to be typed, and the samples of configuration, exist in the code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from extstorage_common import backends, provider
from extstorage_common.config import BACKEND_KEY
from gnt_storage.main import cli
from tests.conftest import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [CHECKOUT / "README.rst", *sorted((CHECKOUT / "docs").glob("*.rst"))]
SOURCES = [
    path for package in ("extstorage_common", "gnt_storage") for path in (CHECKOUT / package).rglob("*.py")
]
COMMAND_LINE = re.compile(r"(?<![\w/.-])gnt-storage ((?:[a-z-]+ ?)+)((?:[^`\n\"]|\\\n)*)")
OPTION = re.compile(r"(?<![\w-])--[a-z-]+")
SENTENCE = re.compile(r"(?<![*\w])\*([^*\n]+)\*(?=,? (?:\*|\(\d+\)))")
"""What a guide explains of an error: its sentence, with dots or an example for what varies, and status."""
VARYING = re.compile(r"\.\.\.[\w./-]*|'[^']*'|\([^)]*\)")


def command(words: list[str]) -> click.Command:
    """The command that these words begin with; the group of all if there is none."""
    found: click.Command = cli
    for word in words:
        inner = found.commands.get(word) if isinstance(found, click.Group) else None
        if inner is None:
            break
        found = inner
    return found


@pytest.mark.parametrize("page", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_command_lines_exist(page: Path) -> None:
    for line in COMMAND_LINE.finditer(page.read_text()):
        found = command(line[1].split())
        known = {"--help", "-h"}.union(*(option.opts for option in found.params))
        assert set(OPTION.findall(line[0])) <= known, line[0]


def test_sentences_are_those_of_errors() -> None:
    """Every part of a sentence that does not vary is somewhere in the code."""
    code = re.sub(r'"\s+f?"', "", "\n".join(path.read_text() for path in SOURCES))
    explained = [(page.name, one) for page in PAGES for one in SENTENCE.findall(page.read_text())]
    assert len(explained) > 40
    for page, sentence in explained:
        for part in VARYING.split(sentence):
            assert part.strip(" ,;:") in code, (page, sentence)


@pytest.mark.parametrize("name", backends.NAMES)
def test_configurations_have_options_that_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is one that can be used, what it comments out included; the guide names no other option."""
    monkeypatch.setenv("EXTSTORAGE_CONFIG_DIR", str(CHECKOUT / "docs/examples"))
    sample = provider.load(name, name)
    sample.check_names()
    assert [sample.pool(pool).name for pool in sample.configuration.pool_names()]
    known = {BACKEND_KEY, *(option.name for option in sample.table)}
    commented = re.findall(r"^# ?([a-z_]+) = ", (CHECKOUT / f"docs/examples/{name}.conf").read_text(), re.M)
    guide = (CHECKOUT / f"docs/{name}.rst").read_text()
    named = re.findall(r"^ +([a-z_]+) = ", guide, re.M) + re.findall(r"``([a-z_]+) = ", guide)
    assert named
    assert {*commented, *named} <= known
