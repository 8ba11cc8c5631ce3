# SPDX-License-Identifier: Apache-2.0
"""The Element API of SolidFire clusters: JSON-RPC over HTTPS, one connection for all that a script asks.

All errors have the same code, so they are told apart by name. Some pass, and are waited out, as is a server
that is away for a moment. A call whose answer got lost may have been done: most methods can be called again
without harm, but for those in ``ONCE`` the caller has to look (:class:`AnswerLost`).
"""

from __future__ import annotations

import json
import re

from extstorage_common import calllog, secret_files
from extstorage_common.errors import PoolUnreachable, Refused, TimedOut
from extstorage_common.libraries import python_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from extstorage_common.deadline import Deadline

    Object = dict[str, Any]

VERSION = "8.0"
"""The oldest version of the API that has ListVolumes; every newer cluster answers it."""
CONNECT_SECONDS = 10.0
FIRST_PAUSE = 0.2
LAST_PAUSE = 2.0
"""Before the last of some five times that a call of ``ONCE`` is tried."""
FIRST_LOOK = 0.05
TRIES = 8
"""With pauses that double, some 25 seconds."""

SECRET = re.compile(r'"(?:initiatorSecret|targetSecret)": *"([^"]*)"')

ONCE = frozenset({"AddAccount", "CloneVolume", "CreateInitiators", "CreateVolume", "CreateVolumeAccessGroup"})
"""Methods that make something anew each time that they are called."""

UNCERTAIN = ("xDBOperationTimeout", "xDBConnectionLoss", "xRecvTimeout")
"""Errors of a cluster that itself got no answer: a method may have been done all the same."""

PASSING = {
    name.lower(): TRIES
    for name in (
        *("xDBVersionMismatch", "xDBOperationTimeout", "xDBConnectionLoss", "xDBNoSuchPath", "xNoHandler"),
        *("xMaxSnapshotsPerVolumeExceeded", "xMaxClonesPerVolumeExceeded", "xMaxSnapshotsPerNodeExceeded"),
        *("xMaxClonesPerNodeExceeded", "xSliceNotRegistered", "xNotReadyForIO", "xNotPrimary"),
        *("xSnapshotFailed", "xRecvTimeout"),
    )
} | {"xpermissiondenied": 3}
"""Errors that go by, and how often they are tried. A cluster that is being upgraded denies for a moment what
it will allow; to a user without the role it will be denied for ever."""


class ElementError(Refused):
    """An error in the cluster's answer; ``name`` tells which."""

    template = "the cluster refuses {method}: {message} ({name})"

    def has_name(self, *names: str) -> bool:
        """Whether it is one of these; versions differ in how they write capitals."""
        return str(self.fields["name"]).lower() in [name.lower() for name in names]


class LoginRefused(Refused):
    template = "the cluster at {address} does not know user {user} with the password in {file}"


class UnknownVersion(Refused):
    template = "the cluster at {address} does not answer version {version} of the Element API; it is too old"


class NotTrusted(Refused):
    template = (
        "the certificate of {address} is not to be trusted ({reason}); say in ca_file or in fingerprint "
        "which one is"
    )


class AnswerLost(PoolUnreachable):
    """A call of ``ONCE`` was sent, and it is not known whether it was done."""


class Login:
    """Where the cluster is, who asks it, and how it proves that it is the right one.

    Without ``address`` nobody can ask: it is for the backend of a pool that has a controller.
    ``ca_file`` has the certificates that its own must be signed by, None stands for the system's;
    ``fingerprint`` is the SHA-256 of its own, which is enough then; without ``verify`` nothing is proved.
    """

    def __init__(
        self,
        address: str | None,
        port: int,
        user: str,
        password_file: str,
        ca_file: str | None,
        fingerprint: str | None,
        verify: bool,
    ) -> None:
        host = f"[{address}]" if address and ":" in address else address
        self.address = f"{host}:{port}"
        self.user = user
        self.password_file = password_file
        self.ca_file = ca_file
        self.fingerprint = fingerprint
        self.verify = verify

    def password(self) -> str:
        """The password. Raises BadSecret."""
        return secret_files.read_line(self.password_file)


class Element:
    """A cluster, connected when it is first asked. ``pool`` is for errors.

    What is said is added to the transcript of the provider ``transcript``, unless that is empty.
    """

    def __init__(self, pool: str, login: Login, deadline: Deadline, transcript: str = "") -> None:
        self.pool = pool
        self.transcript = transcript
        self.login = login
        self.deadline = deadline
        self._session: Any = None

    def call(self, method: str, *final: str, **parameters: Any) -> Object:
        """The result of a method; errors of the names ``final`` are not waited out.

        Raises ElementError, AnswerLost, PoolUnreachable, TimedOut, LoginRefused, NotTrusted.
        """
        failure: PoolUnreachable | ElementError
        for tried, _ in enumerate(self._pauses(method), 1):
            try:
                return self._once(method, parameters)
            except AnswerLost:
                raise
            except PoolUnreachable as error:
                failure = error
            except ElementError as error:
                if method in ONCE and error.has_name(*UNCERTAIN):
                    raise AnswerLost(pool=self.pool, reason=str(error)) from error
                passing = PASSING.get(str(error.fields["name"]).lower(), 1)
                if error.has_name(*final) or tried >= passing:
                    raise
                failure = error
        raise failure

    def looks(self, seconds: float | None = None) -> Iterator[None]:
        """Yield for another look, with pauses of 50 ms up to a second, until ``seconds`` or the time end."""
        import time

        end = time.monotonic() + min(
            self.deadline.left(), self.deadline.seconds if seconds is None else seconds
        )
        pause = FIRST_LOOK
        yield
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * 2, 1.0)
            yield

    def _pauses(self, method: str) -> Iterator[None]:
        """Yield for each try of a call, with pauses between. Raises TimedOut, before the first one only."""
        import time

        pause = FIRST_PAUSE
        self.deadline.check(f"asking the cluster for {method}")
        yield
        for _ in range(TRIES - 1):
            if self.deadline.left() <= pause:
                return
            time.sleep(pause)
            pause *= 2
            yield

    def _once(self, method: str, parameters: Object) -> Object:
        answer = self._post(method, json.dumps({"method": method, "params": parameters, "id": 1}))
        if "error" in answer:
            error = answer["error"]
            name, message = str(error.get("name", "")), str(error.get("message", ""))
            raise ElementError(method=method, name=name, message=message)
        result: Object = answer["result"]
        return result

    def _post(self, method: str, body: str) -> Object:
        """Send a request; returns the API's answer to it."""
        if self._session is None:
            self._session = _session(self.login)
        from requests import exceptions

        url = f"https://{self.login.address}/json-rpc/{VERSION}"
        left = max(self.deadline.left(), 0.001)  # none is no time-out that requests takes
        try:
            told = self._session.post(url, data=body, timeout=(min(CONNECT_SECONDS, left), left))
        except exceptions.SSLError as error:
            raise NotTrusted(address=self.login.address, reason=_reason(error)) from error
        except exceptions.ReadTimeout as error:
            doing = f"the cluster was asked for {method}"
            raise TimedOut(seconds=self.deadline.seconds, doing=doing) from error
        except exceptions.ConnectTimeout as error:
            raise PoolUnreachable(pool=self.pool, reason=f"{self.login.address} is silent") from error
        except exceptions.RequestException as error:
            if _was_sent(error) and method in ONCE:
                raise AnswerLost(pool=self.pool, reason=_reason(error)) from error
            raise PoolUnreachable(pool=self.pool, reason=_reason(error)) from error
        if self.transcript:
            said = f"{self.login.address}: {body} -> {told.status_code} {told.text}"
            calllog.transcript(self.transcript, said, SECRET.findall(said))
        return self._judge(method, told)

    def _judge(self, method: str, told: Any) -> Object:
        if told.status_code == 401:
            login = self.login
            raise LoginRefused(address=login.address, user=login.user, file=login.password_file)
        if told.status_code == 404:
            raise UnknownVersion(address=self.login.address, version=VERSION)
        try:
            if told.status_code != 200:
                raise ValueError(f"HTTP status {told.status_code}")
            answer = json.loads(told.content)
            if not isinstance(answer, dict) or not answer.keys() & {"result", "error"}:
                raise ValueError("it is no answer of the Element API")
            return answer
        except ValueError as error:
            kind = AnswerLost if method in ONCE else PoolUnreachable
            reason = f"{self.login.address} answers with something else ({error})"
            raise kind(pool=self.pool, reason=reason) from None


def once(make: Callable[[], Any], find: Callable[[], Any]) -> Any:
    """What ``make`` makes. Where its answer got lost, ``find`` looks for it first."""
    import time

    pause = FIRST_PAUSE
    while True:
        try:
            return make()
        except AnswerLost as error:
            lost = error
        if (found := find()) is not None:
            return found
        if pause > LAST_PAUSE:
            raise lost
        time.sleep(pause)
        pause *= 2


def _session(login: Login) -> Any:
    """A connection that takes nothing from the environment: no proxy, no other certificates, no netrc."""
    requests = python_module("requests", "python3-requests")

    class Pinned(requests.adapters.HTTPAdapter):  # type: ignore[misc, name-defined]
        """Lets only the certificate with this fingerprint pass."""

        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options, assert_fingerprint=login.fingerprint)

    session = requests.Session()
    session.trust_env = False
    session.auth = (login.user, login.password())
    session.headers["Content-Type"] = "application/json-rpc; charset=utf-8"
    if login.fingerprint:
        session.mount("https://", Pinned())
    if login.fingerprint or not login.verify:
        session.verify = False
        requests.packages.urllib3.disable_warnings()
    elif login.ca_file:
        session.verify = login.ca_file
    return session


def _was_sent(error: Exception) -> bool:
    """Whether the request may have reached the cluster before this."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return type(cause).__name__ != "NewConnectionError"


def _reason(error: Exception) -> str:
    """What was wrong, without the addresses and objects that requests wraps it in."""
    cause: Any = error
    while True:
        inner = getattr(cause, "reason", None) or (cause.args[-1] if getattr(cause, "args", ()) else None)
        if not isinstance(inner, Exception):
            break
        cause = inner
    text = getattr(cause, "verify_message", "") or getattr(cause, "strerror", "") or str(cause)
    return text.rpartition(">: ")[2].rpartition("(_ssl.c")[0].strip() or text.rpartition(">: ")[2]
