# SPDX-License-Identifier: Apache-2.0
"""What a POSIX shell makes of a line, as much of it as a careful client has reason to send.

Simple commands, joined by ``;`` or ``&&``, their output put into a file by ``>``. Anything else by which a
shell would do more than start what is written there (an expansion, a pattern, a pipe, a line's end) raises
ShellSyntax: it is a quoting mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Command:
    """A simple command. ``joined`` is what stands before it: ``;`` or ``&&``."""

    joined: str = ";"
    words: list[str] = field(default_factory=list)
    output: str = ""
    """The file after ``>``."""


class ShellSyntax(Exception):
    """The line holds, outside of quotes, what a shell would act upon."""


def parse(line: str) -> list[Command]:
    """The commands of a line. Raises ShellSyntax."""
    commands = [Command()]
    redirected = False
    for token, quoted in _tokens(line):
        command = commands[-1]
        if token == ">" and not quoted:
            redirected = True
        elif token in (";", "&&") and not quoted:
            if not command.words or redirected:
                raise ShellSyntax(f"nothing before {token!r}")
            commands.append(Command(token))
        elif redirected:
            command.output, redirected = token, False
        else:
            command.words.append(token)
    if redirected or not commands[-1].words:
        raise ShellSyntax("the line ends too early")
    return commands


def split(line: str) -> list[str]:
    """The words of a line that is one simple command. Raises ShellSyntax."""
    commands = parse(line)
    if len(commands) > 1 or commands[0].output:
        raise ShellSyntax(f"more than a simple command in {line!r}")
    return commands[0].words


def _tokens(line: str) -> list[tuple[str, bool]]:
    """Words and operators; with each whether it is a word, whatever it looks like."""
    tokens: list[tuple[str, bool]] = []
    word: str | None = None
    position = 0
    while position < len(line):
        character = line[position]
        if character in " \t" or character in ";&>":
            if word is not None:
                tokens.append((word, True))
                word = None
            if line.startswith("&&", position):
                position += 1
                tokens.append(("&&", False))
            elif character in ";>":
                tokens.append((character, False))
            elif character == "&":
                raise ShellSyntax(f"an operator at {line[position:]!r}")
            position += 1
        else:
            piece, position = _piece(line, position, word)
            word = (word or "") + piece
    return tokens if word is None else [*tokens, (word, True)]


def _piece(line: str, position: int, word: str | None) -> tuple[str, int]:
    """What the character at ``position``, or the quoted text there, adds to a word; and what follows."""
    character = line[position]
    if character == "'":
        end = line.find("'", position + 1)
        if end < 0:
            raise ShellSyntax("a quote that is not closed")
        return line[position + 1 : end], end + 1
    if character == '"':
        return _double_quoted(line, position + 1)
    if character == "\\":
        if position + 1 == len(line) or line[position + 1] == "\n":
            raise ShellSyntax("a backslash before the line's end")
        return line[position + 1], position + 2
    if character in "$`\n|<()*?[!" or (character in "#~" and word is None):
        raise ShellSyntax(f"an operator or expansion at {line[position:]!r}")
    return character, position + 1


def _double_quoted(line: str, position: int) -> tuple[str, int]:
    text = ""
    while position < len(line):
        character = line[position]
        if character == '"':
            return text, position + 1
        if character in "$`":
            raise ShellSyntax(f"an expansion at {line[position:]!r}")
        if character == "\\" and line[position + 1 : position + 2] in ('"', "\\", "$", "`"):
            position += 1
            character = line[position]
        text += character
        position += 1
    raise ShellSyntax("a quote that is not closed")
