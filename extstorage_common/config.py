# SPDX-License-Identifier: Apache-2.0
"""A provider's configuration file, and the table of options that gives it its meaning.

``/etc/ganeti/extstorage/<provider>.conf`` is an INI file with one section a pool and ``[DEFAULT]``
for all of them::

    [DEFAULT]
    takeover = offline

    [gold]
    directory = /srv/gold

Each option is declared once, as an :class:`Option`: that table validates the file and the
``EXTP_*`` parameters, is what ``verify`` checks and the manual prints, and what
``parameters.list`` is made from.
"""

from __future__ import annotations

import os

from extstorage_common import paths
from extstorage_common.errors import (
    BadConfiguration,
    BadOption,
    BadParameter,
    FixedParameter,
    ForbiddenParameter,
    MissingOption,
    PoolNotChosen,
    PoolNotFound,
    UnknownOption,
    UnknownParameter,
)
from extstorage_common.request import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import configparser
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any


class Kind:
    """What an option's value can be: :meth:`parse` makes it from text or raises ValueError."""

    expects = "text"

    def parse(self, text: str) -> Any:
        """The value that ``text`` stands for."""
        if not text or not text.isprintable():
            raise ValueError(text)
        return text


class AbsolutePath(Kind):
    """An absolute path in normal form."""

    expects = "an absolute path"

    def parse(self, text: str) -> str:
        if not text.startswith("/") or not text.isprintable():
            raise ValueError(text)
        return os.path.normpath(text)


class SecretFile(AbsolutePath):
    """A file with a secret, of mode 0600; ``gnt-storage install`` brings it to the nodes."""

    expects = "the absolute path of a file of mode 0600"


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.expects = " or ".join(words)

    def parse(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(text)
        return text


class YesNo(Choice):
    """A switch; its value is a bool."""

    def __init__(self) -> None:
        super().__init__("yes", "no")

    def parse(self, text: str) -> Any:
        return super().parse({"true": "yes", "false": "no"}.get(text.lower(), text)) == "yes"


class Whole(Kind):
    """A whole number from ``smallest`` to ``largest``."""

    def __init__(self, smallest: int, largest: int) -> None:
        self.smallest = smallest
        self.largest = largest
        self.expects = f"a whole number from {smallest} to {largest}"

    def parse(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise ValueError(text)
        if not self.smallest <= int(text) <= self.largest:
            raise ValueError(text)
        return int(text)


class Seconds(Whole):
    """A time in whole seconds, from 1 to ``largest``."""

    def __init__(self, largest: int) -> None:
        super().__init__(1, largest)
        self.expects = f"a number of seconds from 1 to {largest}"


class Port(Kind):
    """A TCP port."""

    expects = "a number from 1 to 65535"

    def parse(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 65535):
            raise ValueError(text)
        return int(text)


class Host(Kind):
    """A host's name or address: nothing that ssh would take for an option."""

    expects = "a name or an address"

    def parse(self, text: str) -> str:
        if not all(char.isascii() and (char.isalnum() or char in "._-:") for char in text) or text[0] == "-":
            raise ValueError(text)
        return text


class User(Host):
    """A user's name on another machine."""

    expects = "a user's name"


class Words(Kind):
    """Words separated by commas or blanks; ``none`` stands for no word."""

    expects = "words separated by commas"

    def parse(self, text: str) -> tuple[str, ...]:
        words = tuple(text.replace(",", " ").split())
        return () if words == ("none",) else words


class Option:
    """One option of a pool.

    ``default`` is text as it would stand in the file, or None where the file must say it, or ``""``
    for an option that is absent by default (its value is then None). An ``owner`` option may also
    be chosen for a single disk, with the ``EXTP_*`` parameter of its name; a ``fixed`` one may be named
    there, but only with the value that the pool has; all others are the administrator's alone.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        default: str | None,
        help: str,
        owner: bool = False,
        fixed: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.help = help
        self.owner = owner
        self.fixed = fixed

    @property
    def default_text(self) -> str:
        """The default, for people."""
        return "must be set" if self.default is None else self.default or "not set"

    @property
    def set_by(self) -> str:
        """Who may set it, for people."""
        if self.owner:
            return "also a disk's owner"
        return "administrator (a disk's owner may name the same)" if self.fixed else "administrator"


COMMON_OPTIONS = (
    Option(
        "timeout",
        Seconds(800),
        "50",
        "seconds in which a call must answer; Ganeti itself gives up only after 900",
    ),
    Option("copy_timeout", Seconds(800), "600", "seconds for a call that copies or writes a whole volume"),
    Option(
        "takeover",
        Choice("offline", "always"),
        "offline",
        "where the storage can't fence: take a volume from another node only if that node is marked offline "
        "in Ganeti, or always",
    ),
    Option(
        "owner_options",
        Words(),
        "",
        "the options that may also be set for a single disk (none: no option); "
        "by default all those that can be",
    ),
    Option(
        "controller",
        Host(),
        "",
        "the machine that manages the pool, where this node may not: it is asked over SSH, and the backend's "
        "options are in its configuration",
    ),
    Option("controller_user", User(), "root", "the user to log in as on the controller"),
    Option("controller_port", Port(), "22", "the port of the controller's SSH server"),
    Option(
        "controller_key",
        AbsolutePath(),
        "",
        "the file with this node's private key for the controller, without a passphrase; by default "
        "controller_key beside the provider's configuration",
    ),
)
"""What every pool of every backend can say."""

TRANSCRIPT = Option(
    "transcript",
    YesNo(),
    "no",
    "write what is sent to the storage, and what it answers, to <provider>.transcript.log, without secrets",
)
"""For storage that is reached over a network."""

POOL_PARAMETER = Option("pool", Kind(), "", "the pool for the disk, one of those configured", owner=True)
BACKEND_KEY = "backend"


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: what was probably meant, or else all that there is."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(word, names, 1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "there is " + (", ".join(names) or "none")


class Pool:
    """One place where volumes live: a section of the configuration.

    ``pool["timeout"]`` is an option's value; ``chosen`` are the parameters of a disk that is to be made,
    as text, which a controller is sent.
    """

    chosen: Mapping[str, str] = {}

    def __init__(self, name: str, provider: str, file: str, options: dict[str, Any]) -> None:
        self.name = name
        self.provider = provider
        self.file = file
        self.options = options

    def __getitem__(self, option: str) -> Any:
        return self.options[option]


class Configuration:
    """What one provider's file says, as text; :meth:`pool` gives it meaning.

    ``file`` need not exist. Without it there is one pool, ``default``, with every option at its default; or
    none, where the backend ``needs_file`` because some of its options have no default.
    """

    def __init__(
        self, provider: str, file: str, sections: dict[str, dict[str, str]], needs_file: bool = False
    ) -> None:
        self.provider = provider
        self.file = file
        self.sections = sections
        self.needs_file = needs_file

    @property
    def is_absent(self) -> bool:
        """Whether there is no configuration at all."""
        return not self.sections

    def backend(self) -> str | None:
        """The backend that the file names, if it does."""
        return next(
            (section[BACKEND_KEY] for section in self.sections.values() if BACKEND_KEY in section), None
        )

    def pool_names(self) -> list[str]:
        """The pools, in the order of the file."""
        return list(self.sections) or ([] if self.needs_file else ["default"])

    def first_pool(self) -> str:
        """The first of them. Raises BadConfiguration if there is none."""
        if not self.pool_names():
            reason = "it is not there; write it, with a section for each pool, such as [default]"
            raise BadConfiguration(file=self.file, reason=reason)
        return self.pool_names()[0]

    def pool(
        self,
        name: str,
        table: Sequence[Option],
        defaults: Mapping[str, str],
        is_controller: bool = False,
    ) -> Pool:
        """The pool ``name``, its values parsed by ``table``.

        ``defaults`` are the backend's values for a provider without any configuration. Where a pool
        has a controller, only the controller's own configuration must have the backend's options.
        Raises PoolNotFound, BadConfiguration, BadOption, MissingOption, UnknownOption (the slip by which
        one is missing).
        """
        self.first_pool()
        if name not in self.pool_names():
            raise PoolNotFound(pool=name, nearest=nearest(name, self.pool_names()))
        said: Mapping[str, str] = defaults if self.is_absent else self.sections[name]
        options = {}
        for option in table:
            text = said.get(option.name, option.default)
            if text is None and "controller" in said and not is_controller:
                text = ""
            if text is None:
                self.check_names(table)
                raise MissingOption(file=self.file, section=name, option=option.name, help=option.help)
            try:
                options[option.name] = option.kind.parse(text) if text else None
            except ValueError:
                raise BadOption(
                    file=self.file, section=name, option=option.name, value=text, expects=option.kind.expects
                ) from None
        return Pool(name, self.provider, self.file, options)

    def check_names(self, table: Sequence[Option]) -> None:
        """Raise UnknownOption for the first option of the file that is not in ``table``.

        Only ``create`` and ``verify`` call this: a typing error in the file must not make an attach
        fail, since Ganeti takes that for a volume that is gone.
        """
        known = [option.name for option in table] + [BACKEND_KEY]
        for name, section in self.sections.items():
            for option in section:
                if option not in known:
                    raise UnknownOption(
                        file=self.file, section=name, option=option, nearest=nearest(option, known)
                    )

    def chosen_pool(self, parameters: Mapping[str, str]) -> str | None:
        """The pool that ``EXTP_POOL`` names or, without it, the only one; None if there are several."""
        names = self.pool_names()
        return parameters.get("pool") or (names[0] if len(names) == 1 else None)

    def pool_for_new(self, parameters: Mapping[str, str]) -> str:
        """The pool in which a new volume is to be made. Raises PoolNotChosen, BadConfiguration."""
        self.first_pool()
        name = self.chosen_pool(parameters)
        if name is None:
            raise PoolNotChosen(pools=", ".join(self.pool_names()))
        return name


def load(provider: str) -> Configuration:
    """Read a provider's configuration file; none is fine. Raises BadConfiguration."""
    file = os.path.join(paths.config_dir(), provider + ".conf")
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
    except FileNotFoundError:
        return Configuration(provider, file, {})
    except OSError as error:
        raise BadConfiguration(file=file, reason=f"it can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadConfiguration(file=file, reason="it is not UTF-8") from error
    return Configuration(provider, file, _sections(file, text))


def _sections(file: str, text: str) -> dict[str, dict[str, str]]:
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, source=file)
    except configparser.Error as error:
        raise BadConfiguration(file=file, reason=_slip(error)) from error
    sections = {name: dict(parser[name]) for name in parser.sections()}
    if not sections:
        raise BadConfiguration(
            file=file, reason="no pool is configured: it needs a section such as [default]"
        )
    for name in sections:
        if not is_name(name):
            raise BadConfiguration(file=file, reason=f"'[{name}]' can't name a pool")
    return sections


def _slip(error: configparser.Error) -> str:
    """What is wrong with a file; not what stands there, which might be a password."""
    import configparser

    match error:
        case configparser.MissingSectionHeaderError():
            return f"line {error.lineno} comes before the first section, such as [default]"
        case configparser.DuplicateSectionError():
            return f"line {error.lineno} begins another section [{error.section}]"
        case configparser.DuplicateOptionError():
            return f"line {error.lineno} says {error.option} in [{error.section}] a second time"
        case configparser.ParsingError():
            return f"line {error.errors[0][0]} is neither [POOL] nor OPTION = VALUE"
    return str(error)


def parameters_of(table: Sequence[Option]) -> list[Option]:
    """The parameters that a disk may carry (``EXTP_*``), ``pool`` first."""
    return [POOL_PARAMETER, *(option for option in table if option.owner or option.fixed)]


def choose(pool: Pool, table: Sequence[Option], parameters: Mapping[str, str]) -> Pool:
    """``pool`` with what a disk's ``parameters`` choose, for a volume to be made.

    Raises UnknownParameter, ForbiddenParameter, FixedParameter, BadParameter.
    """
    known = {option.name: option for option in parameters_of(table)}
    allowed: Sequence[str] | None = pool["owner_options"]
    options = dict(pool.options)
    for name, text in parameters.items():
        if name not in known:
            raise UnknownParameter(parameter=name, nearest=nearest(name, known))
        if name == POOL_PARAMETER.name:
            continue
        if allowed is not None and name not in allowed and not known[name].fixed:
            raise ForbiddenParameter(parameter=name)
        try:
            options[name] = known[name].kind.parse(text)
        except ValueError:
            raise BadParameter(parameter=name, value=text, expects=known[name].kind.expects) from None
        if known[name].fixed and options[name] != pool[name]:
            raise FixedParameter(parameter=name, value=pool[name], pool=pool.name)
    chosen = Pool(pool.name, pool.provider, pool.file, options)
    chosen.chosen = {name: text for name, text in parameters.items() if name != POOL_PARAMETER.name}
    return chosen
