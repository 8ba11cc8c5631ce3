# SPDX-License-Identifier: Apache-2.0
"""The HTTPS server in front of the modelled cluster (section 3.1)."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.appliances.faults import Faults
from tests.appliances.solidfire import information
from tests.appliances.solidfire.cluster import MUTE, Cluster
from tests.appliances.solidfire.faults import taken

if TYPE_CHECKING:
    from pathlib import Path

    from tests.appliances.model import Model

PATH = "/json-rpc/"
UNAUTHORIZED = b"<html><body><h1>401 Unauthorized.</h1></body></html>"
SECONDS = 30


class Front(ThreadingHTTPServer):
    """Serves a cluster on an address; ``calls`` and ``connections`` remember what came, as the model does."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        cluster: Cluster,
        address: tuple[str, int],
        certificate: Path,
        key: Path,
        model: Model | None = None,
    ) -> None:
        super().__init__(address, Handler)
        self.cluster = cluster
        self.model = model
        self.faults = model.faults if model else Faults()
        self.calls: list[tuple[str, Any]] = []
        self.connections = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self.server_address[1]
        return port

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection; its handshake is left to its own thread."""
        plain, peer = super().get_request()
        plain.settimeout(SECONDS)
        self.connections += 1
        if self.model:
            self.model.connections += 1
        return self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or does not trust us, is no event."""

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self.shutdown()
        self.server_close()


class Cut(Exception):
    """The connection is to end without an answer."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Front
    protocol_version = "HTTP/1.1"
    server_version = "Element"
    wbufsize = -1
    """An answer is one packet; in two, the second would wait for the client's acknowledgement."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        """Nothing is got."""
        self._send(405, b"405 Method Not Allowed", "text/html")

    def do_POST(self) -> None:
        """A call of the API."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        version = self.path.removeprefix(PATH).rstrip("/")
        if not self.path.startswith(PATH) or version not in information.versions(self.server.cluster):
            self._send(404, b"<html><body>404 Not Found</body></html>", "text/html")
            return
        role = self._role()
        if role is None:
            self._send(401, UNAUTHORIZED, "text/html", ("WWW-Authenticate", 'Basic realm="Element"'))
            return
        try:
            self._answer(body, may_change=role == "administrator")
        except Cut:
            self.close_connection = True
            self.connection.close()

    def _role(self) -> str | None:
        settings = self.server.cluster.settings
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        try:
            given = base64.b64decode(encoded)
        except ValueError:
            return None
        for role, login, password in (
            ("administrator", settings.login, settings.password),
            ("reader", settings.reader, settings.reader_password),
        ):
            if hmac.compare_digest(given, f"{login}:{password}".encode()):
                return role
        return None

    def _answer(self, body: bytes, may_change: bool) -> None:
        try:
            request = json.loads(body)
            method, parameters = request["method"], request.get("params")
        except (ValueError, KeyError, TypeError):
            error = {"code": 500, "name": "xInvalidParameter", "message": "The request is not valid JSON-RPC"}
            self._send_json({"id": None, "error": error})
            return
        faults = self._note(method, parameters)
        if self._fails_first(faults, request):
            return
        if may_change or method.startswith(MUTE):
            response = self.server.cluster.call(method, parameters)
        else:
            message = f"Permission denied for {method}"
            response = {"error": {"code": 500, "name": "xPermissionDenied", "message": message}}
        if "job" in faults and "result" in response:
            self.server.cluster.asyncs[response["result"]["asyncHandle"]]["error"] = faults["job"]
        if "cut" in faults:
            raise Cut
        if "late" in faults:
            response = {"error": {"code": 500, "message": "", **faults["late"]}}
        self._send_json({"id": request.get("id"), **response})

    def _note(self, method: str, parameters: Any) -> dict[str, Any]:
        """Remember a request; the faults that happen to it."""
        request = f"{method} {json.dumps(parameters)}"
        with self.server.cluster.lock:
            self.server.calls.append((method, parameters))
            if self.server.model:
                self.server.model.requests.append(request)
            return taken(self.server.faults, request)

    def _fails_first(self, faults: dict[str, Any], request: dict[str, Any]) -> bool:
        """What goes wrong before the call is done; whether it is not to be done any more."""
        time.sleep(faults.get("latency", 0))
        if "meanwhile" in faults:
            other = faults["meanwhile"]
            self.server.cluster.result(other["call"], **other["params"])
        if "drop" in faults:
            raise Cut
        if "status" in faults:
            self._send(faults["status"], b"<html><body>out of order</body></html>", "text/html")
        elif "garbage" in faults:
            self._send(200, b"<html>maintenance</html>", "text/html")
        elif "error" in faults:
            error = {"code": 500, "message": "", **faults["error"]}
            self._send_json({"id": request.get("id"), "error": error})
        else:
            return False
        return True

    def _send_json(self, response: dict[str, Any]) -> None:
        self._send(200, json.dumps(response).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
