# SPDX-License-Identifier: Apache-2.0
"""Who has a volume open, and Ganeti's text: numbered accounts of the cluster, an atomic compare-and-set.

The Element API overwrites attributes, whatever they were. The only thing that it gives to exactly one of two
callers is the name of an account. So state 7 of volume 250 is an account without volumes, named
``ganeti-volume-250-7``, with the state in its attributes; changing it means making ``ganeti-volume-250-8``.

A change makes 8, then removes 7, then writes 8 into the volume's attributes, as the *hint* where the next
search begins. All states below one are gone before the next one is made. So 7 counts if it is there and 8
is not, and 8 counts if 7 is not there. A hint may be out of date (a slow writer overwrites a newer one).
If it leads to no state, it is read again, and if that does not help all accounts are searched.

A node that slept since it read 6 can make a 7 although there was one, which was removed for an 8. It then
finds no 6 to remove, looks for a higher number, and so learns that it has lost. State 0, of a volume that
was never opened, has no account. So a hint is written before the state that it leads to is left behind,
and while the hint is still 0 there is at most a state 1.
"""

from __future__ import annotations

import json
import secrets

from extstorage_common.backends.base import Holder, Holders
from extstorage_common.crash import crash_point
from extstorage_common.errors import BadRequest, NotFound
from extstorage_common.transports.element import ElementError, once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extstorage_common.transports.element import Element, Object

MARK = "ganeti"
"""The member of attributes that is ours; others' are left alone."""
MOST_BYTES = 999
NO_VOLUME = ("xVolumeIDDoesNotExist",)


class TooLong(BadRequest):
    template = "{what} takes {size} bytes, and the cluster keeps no more than {most}"


class State:
    """One state. ``number`` counts up, ``account`` is the account that it is in (None: there is none).

    ``hint`` is the number at which the search for it began.
    """

    def __init__(self, number: int, account: int | None, told: Object) -> None:
        self.number = number
        self.account = account
        self.hint = number
        self.holders = [Holder(*entry) for entry in told.get("holders", [])]
        self.metadata: str = told.get("metadata", "")


class States:
    """The states of the volumes of one cluster."""

    def __init__(self, element: Element) -> None:
        self.element = element

    def read(self, volume: int, hint: Callable[[], int]) -> State:
        """The state that counts. ``hint`` gives the volume's hint, read anew at every call but the first."""
        before = -1
        while (number := hint()) != before:
            state = self._from(volume, number)
            if state is not None:
                break
            before = number
        else:
            state = self._search(volume, number)
        state.hint = number
        return state

    def _from(self, volume: int, number: int) -> State | None:
        """The state that counts, from this number on; None if there is none here."""
        state = State(0, None, {}) if number == 0 else self._get(volume, number)
        following = self._get(volume, number + 1)
        while following is not None:
            if state is not None:
                self._remove(state)
            state = following
            following = self._get(volume, state.number + 1)
        return state

    def _get(self, volume: int, number: int) -> State | None:
        account = find_account(self.element, _username(volume, number))
        return None if account is None else _state(number, account)

    def _search(self, volume: int, hint: int) -> State:
        """The highest state there is, for a hint that leads nowhere; none for a volume that was restored."""
        prefix = _username(volume, 0)[:-1]
        found = [
            _state(int(account["username"].removeprefix(prefix)), account)
            for account in self.element.call("ListAccounts")["accounts"]
            if account["username"].startswith(prefix)
        ]
        return max(found, key=lambda state: state.number, default=State(hint, None, {}))

    def replace(
        self,
        volume: int,
        old: State,
        holders: Sequence[Holder],
        metadata: str,
        hint: Callable[[], int],
        note: Callable[[int], None],
    ) -> bool:
        """Make this the state if ``old`` still is.

        ``hint`` reads the volume's hint, ``note`` writes it. Raises TooLong.
        """
        number = old.number + 1
        entries = [[one.node, one.mode, one.address, one.since] for one in holders]
        told = {"holders": entries, "metadata": metadata, "token": secrets.token_hex(4)}
        attributes = checked({MARK: told}, "its state")
        if old.hint < old.number:
            note(old.number)
        account = self._make(_username(volume, number), attributes)
        if account is None:
            return False
        crash_point("solidfire.state_made")
        try:
            if not self._follows(volume, number, old, hint):
                remove_account(self.element, account)
                return False
            crash_point("solidfire.state_old_removed")
            note(number)
        except (ElementError, NotFound) as error:
            if isinstance(error, NotFound) or error.has_name(*NO_VOLUME):
                remove_account(self.element, account)
            raise
        return True

    def _follows(self, volume: int, number: int, old: State, hint: Callable[[], int]) -> bool:
        """Whether the state that we made follows the one that counted, which is removed."""
        if old.account is not None and remove_account(self.element, old.account):
            return True
        if old.account is None and hint() <= old.number:
            return True
        return self._search(volume, number).number == number

    def _make(self, username: str, attributes: Object) -> int | None:
        """Make an account; None if another call did. Where the answer got lost, it may have been made."""
        told = {"username": username, "attributes": attributes}
        try:
            account = once(
                lambda: self.element.call("AddAccount", **told)["account"],
                lambda: find_account(self.element, username),
            )
        except ElementError as error:
            if not error.has_name("xDuplicateUsername"):
                raise
            account = find_account(self.element, username)
        is_ours = account is not None and account["attributes"] == attributes
        return int(account["accountID"]) if is_ours else None

    def _remove(self, state: State) -> None:
        if state.account is not None:
            remove_account(self.element, state.account)

    def forget(self, volume: int, hint: int) -> None:
        """Remove the states of a volume that is deleted."""
        self._remove(self._from(volume, hint) or self._search(volume, hint))


def find_account(element: Element, username: str) -> Object | None:
    """The account of this name; None if there is none."""
    try:
        account: Object = element.call("GetAccountByName", username=username)["account"]
        return account
    except ElementError as error:
        if error.has_name("xUnknownAccount", "xAccountIDDoesNotExist"):
            return None
        raise


def remove_account(element: Element, number: int) -> bool:
    """Remove an account, which may be gone already; whether it was there."""
    try:
        element.call("RemoveAccount", accountID=number)
        return True
    except ElementError as error:
        if not error.has_name("xAccountIDDoesNotExist", "xUnknownAccount"):
            raise
        return False


def checked(attributes: Object, what: str) -> Object:
    """Attributes that the cluster can keep. Raises TooLong."""
    size = len(json.dumps(attributes).encode())
    if size > MOST_BYTES:
        raise TooLong(what=what, size=size, most=MOST_BYTES)
    return attributes


def as_holders(state: State) -> Holders:
    """The holders of a state."""
    return Holders(state.number, state.holders)


def _username(volume: int, number: int) -> str:
    return f"{MARK}-volume-{volume}-{number}"


def _state(number: int, account: Object) -> State:
    return State(number, account["accountID"], account["attributes"].get(MARK, {}))
