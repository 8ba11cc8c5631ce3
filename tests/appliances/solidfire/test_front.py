# SPDX-License-Identifier: Apache-2.0
"""The HTTPS server as the reference has it: each test names its section."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

import pytest
import requests

from tests.appliances.solidfire.certificates import Authority
from tests.appliances.solidfire.conftest import Bench
from tests.appliances.solidfire.faults import switch_on
from tests.appliances.solidfire.front import Front


class Client:
    """Calls the server as a person with a script would."""

    def __init__(self, front: Front, authority: Authority) -> None:
        self.url = f"https://127.0.0.1:{front.port}/json-rpc/"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(authority.ca)
        self.session.auth = ("admin", "secret")

    def post(self, body: object, version: str = "12.0", **options: Any) -> requests.Response:
        """An answer, whatever it is."""
        return self.session.post(self.url + version, data=json.dumps(body), timeout=100, **options)


@pytest.fixture
def client(front: Front, authority: Authority) -> Client:
    """A client that trusts the tests' authority."""
    return Client(front, authority)


def test_the_id_comes_back_and_the_status_is_200_for_errors_too(client: Client) -> None:
    """3.1: request and response."""
    answer = client.post({"method": "GetClusterInfo", "params": {}, "id": 7})
    assert answer.json()["id"] == 7
    assert answer.json()["result"]["clusterInfo"]["name"] == "model"
    answer = client.post({"method": "Nonsense"})
    assert answer.status_code == 200
    assert answer.json()["id"] is None
    assert (answer.json()["error"]["code"], answer.json()["error"]["name"]) == (500, "xUnknownAPIMethod")


def test_parameters_have_names(client: Client) -> None:
    """3.1: positional arrays are not allowed."""
    answer = client.post({"method": "GetClusterInfo", "params": [1]})
    assert answer.json()["error"]["name"] == "xInvalidParameter"


def test_a_version_above_the_clusters_is_404_and_a_trailing_slash_is_fine(client: Client) -> None:
    """3.1: transport."""
    body = {"method": "GetClusterInfo"}
    assert client.post(body, "13.0").status_code == 404
    assert client.post(body, "1.0/").status_code == 200


@pytest.mark.parametrize("auth", [None, ("admin", "wrong"), ("other", "secret")])
def test_without_the_right_password_the_body_is_no_json(client: Client, auth: tuple[str, str] | None) -> None:
    """3.1: 401."""
    client.session.auth = auth
    answer = client.post({"method": "GetClusterInfo"})
    assert answer.status_code == 401
    assert "401 Unauthorized." in answer.text
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()


def test_a_reader_may_change_nothing(client: Client) -> None:
    """3.1: xPermissionDenied."""
    client.session.auth = ("reader", "readonly")
    assert "result" in client.post({"method": "ListVolumes"}).json()
    answer = client.post({"method": "AddAccount", "params": {"username": "a"}})
    assert answer.json()["error"]["name"] == "xPermissionDenied"


def test_the_certificate_is_of_an_authority_that_nobody_knows(client: Client) -> None:
    """3.1: self-signed by default."""
    with pytest.raises(requests.exceptions.SSLError):
        client.post({"method": "GetClusterInfo"}, verify=True)


def test_a_connection_is_cut_after_the_call_took_effect(client: Client, bench: Bench, front: Front) -> None:
    """3.4: retry safety; the fault that makes duplicates."""
    switch_on(front.faults, "cut", "AddAccount")
    switch_on(front.faults, "drop", "RemoveAccount")
    with pytest.raises(requests.exceptions.ConnectionError):
        client.post({"method": "AddAccount", "params": {"username": "cut"}})
    account = bench.ok("GetAccountByName", username="cut")["account"]
    with pytest.raises(requests.exceptions.ConnectionError):
        client.post({"method": "RemoveAccount", "params": {"accountID": account["accountID"]}})
    bench.ok("GetAccountByName", username="cut")


def test_other_faults(client: Client, bench: Bench, front: Front) -> None:
    """3.4: errors that go by; and what stands in front of a cluster that is being upgraded."""
    switch_on(front.faults, "error", "ListVolumes", {"name": "xDBVersionMismatch"}, times=2)
    switch_on(front.faults, "status", "GetClusterInfo", 503, skip=1)
    switch_on(front.faults, "garbage", "GetLimits")
    other = {"call": "AddAccount", "params": {"username": "other"}}
    switch_on(front.faults, "meanwhile", "ListAccounts", other)
    for _ in range(2):
        assert client.post({"method": "ListVolumes"}).json()["error"]["name"] == "xDBVersionMismatch"
    assert "result" in client.post({"method": "ListVolumes"}).json()
    assert client.post({"method": "GetClusterInfo"}).status_code == 200
    assert client.post({"method": "GetClusterInfo"}).status_code == 503
    assert "maintenance" in client.post({"method": "GetLimits"}).text
    assert len(client.post({"method": "ListAccounts"}).json()["result"]["accounts"]) == 2
    with pytest.raises(ValueError, match="no fault"):
        switch_on(front.faults, "nonsense")


def test_what_came_is_remembered(client: Client, front: Front) -> None:
    """What the tests count."""
    client.post({"method": "ListVolumes", "params": {"volumeName": "v"}})
    client.post({"method": "GetLimits"})
    assert front.calls == [("ListVolumes", {"volumeName": "v"}), ("GetLimits", None)]
    assert front.connections == 1


def test_nothing_but_post_is_answered(front: Front, authority: Authority) -> None:
    """3.1: transport."""
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", front.port, context=trusting, timeout=100)
    connection.request("GET", "/json-rpc/12.0")
    assert connection.getresponse().status == 405
    connection.close()
