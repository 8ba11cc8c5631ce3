# SPDX-License-Identifier: Apache-2.0
"""CLIQ's answers, as XML or as text."""

from __future__ import annotations

from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from tests.appliances.lefthand.codes import Code
from tests.appliances.lefthand.facts import Facts

PROLOGUE = '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n'
COLUMN = 16


class Element(NamedTuple):
    """A thing that an answer tells of: its attributes in the array's order, which is the alphabet's."""

    name: str
    attributes: dict[str, str]
    children: tuple[Element, ...] = ()


def as_xml(facts: Facts, code: Code, description: str, milliseconds: int, elements: list[Element]) -> str:
    """What ``output=XML`` gives."""
    told = {"description": description, "name": code.name, "processingTime": str(milliseconds)}
    if facts.minimal_responses:
        told = {"description": "Succeeded" if not code.is_error else description}
    response = Element("response", {**told, "result": code.text}, tuple(elements))
    body = f'<gauche version="1.0">\n\n{_lines(response, 1)}\n</gauche>\n    '
    return facts.noise + (PROLOGUE if facts.prologue else "") + body


def _lines(element: Element, depth: int) -> str:
    margin = "  " * depth
    told = "".join(f" {name}={quoteattr(value)}" for name, value in sorted(element.attributes.items()))
    if not element.children:
        return f"{margin}<{element.name}{told}/>\n"
    inside = "".join(_lines(child, depth + 1) for child in element.children)
    return f"{margin}<{element.name}{told}>\n{inside}{margin}</{element.name}>\n"


def banner(facts: Facts) -> str:
    """What an interactive session prints, and each of its commands again."""
    return f"\n{facts.product}, v{facts.version}\n(C) Copyright 2007-2016 Hewlett Packard Enterprise\n\n"


def as_text(facts: Facts, code: Code, description: str, milliseconds: int, elements: list[Element]) -> str:
    """What CLIQ gives without ``output=XML``: blocks of names and values, for people."""
    told = {
        "result": code.text,
        "processingTime": str(milliseconds),
        "name": code.name,
        "description": description,
    }
    return banner(facts) + _block(Element("response", told, tuple(elements)), 0)


def _block(element: Element, depth: int) -> str:
    margin = "  " * depth
    told = dict(element.attributes)
    for child in element.children:
        if child.name == "status":
            told["status"] = told.get("availability", "online")
    text = f"{margin}{element.name.upper()}\n"
    text += "".join(f"{margin}  {name:<{COLUMN}}{value}\n" for name, value in told.items())
    return text + "".join(_block(child, depth + 1) for child in element.children if child.name != "status")
