"""Attacks on a real control plane: who has no token, or is slow, or asks for much, hinders nobody else."""

from __future__ import annotations

import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from tests.processes import PATIENCE, ZPE, ControlPlane, environment, h2
from zpe_sdk.forwarded import Proxies
from zpe_server.api.gate import OTHER, SMALL
from zpe_server.connections import Crowd, raise_descriptors

JOBS = "/calc/zpe/jobs"
MEGABYTE = 2**20


@contextmanager
def connected(plane: ControlPlane, text: str = "") -> Iterator[socket.socket]:
    """Open a connection, and send some bytes."""
    with socket.create_connection(("127.0.0.1", plane.port), timeout=PATIENCE) as connection:
        connection.sendall(text.encode())
        yield connection


def heard(connection: socket.socket) -> str:
    """Return all that comes until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:  # it did not read all that was sent
        pass
    return b"".join(parts).decode()


def posted(length: int | None = None, path: str = JOBS, token: str = "") -> str:
    """Return the head of a request; without a length, its body comes in chunks."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += ["Transfer-Encoding: chunked"] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""])


def answers(plane: ControlPlane) -> bool:
    """Tell whether the control plane answers somebody else."""
    return httpx.get(f"{plane.url}/healthz", timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize(
    ("token", "code"), [("", "no_token"), ("zper_nobody-has-this-token", "bad_token")], ids=["none", "wrong"]
)
def test_a_large_body_without_a_token_is_answered_before_it_is_sent(
    control_plane: ControlPlane, token: str, code: str
) -> None:
    with connected(control_plane, posted(60 * MEGABYTE, token=token)) as connection:
        answer = heard(connection)
    assert answer.startswith("HTTP/1.1 401")
    assert f'"code":"{code}"' in answer
    assert "connection: close" in answer.lower()
    assert "x-request-id" in answer.lower()


def test_a_body_in_chunks_without_a_token_is_read_only_so_far(control_plane: ControlPlane) -> None:
    with connected(control_plane, posted()) as connection:
        for _ in range(2 * SMALL // 1000):
            try:
                connection.sendall(b"3e8\r\n" + b"[" * 1000 + b"\r\n")
            except OSError:
                break
        answer = heard(connection)
    assert answer.startswith("HTTP/1.1 413")
    assert "connection: close" in answer.lower()


def test_each_call_has_a_limit_of_its_own(control_plane: ControlPlane) -> None:
    with control_plane.api(control_plane.researcher_token("ann")) as ann:
        for path, size in ((JOBS, 5 * MEGABYTE), (f"{JOBS}/none/cancel", 2 * OTHER)):
            refused = ann.post(path, content=b" " * size)
            assert refused.status_code == 413
            assert refused.json()["error"]["code"] == "body_too_large"
        # The largest structures are far below it.
        assert ann.post(JOBS, json={"content": h2() + "#" * 3 * MEGABYTE}).status_code == 200


def test_a_body_of_nothing_but_values_is_refused_before_it_is_read(control_plane: ControlPlane) -> None:
    with control_plane.api() as api:
        json = {"Content-Type": "application/json"}
        lists = api.post(JOBS, content=b"[" + b"[]," * MEGABYTE + b"[]]", headers=json)
        assert lists.status_code == 422
        assert "too many values" in lists.json()["detail"]
        # Faults are named, but not all of a hundred thousand.
        wrong = api.post(JOBS, json={"content": h2(), "mobile_indices": ["x"] * 100_000})
        assert wrong.status_code == 422
        assert len(wrong.content) < 10_000


def test_who_is_slow_is_given_up_and_nobody_is_shut_out(control_plane: ControlPlane) -> None:
    raise_descriptors()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2000
    researcher = control_plane.researcher_token("eve")
    beginnings = {
        "silent": "",
        "half a header": "GET /healthz HTTP/1.1\r\nX: ",
        "half a body": posted(1000) + "{",
        "half a large body": posted(100_000, token=researcher) + "{" + " " * 1000,
        "a chunk too few": posted() + "1\r\n{\r\n",
        # Answered before its body has come.
        "half a body that nobody reads": posted(1000, "/nowhere") + "{",
    }
    with ExitStack() as stack:
        slow = {
            name: [stack.enter_context(connected(control_plane, text)) for _ in range(200)]
            for name, text in beginnings.items()
        }
        assert answers(control_plane)
        for name, connections in slow.items():
            for connection in connections:
                answer = heard(connection)
                expected = "404" if "nobody reads" in name else "408"
                assert answer.startswith(f"HTTP/1.1 {expected}"), name
    assert answers(control_plane)


def test_headers_have_an_end(control_plane: ControlPlane) -> None:
    with connected(control_plane, "GET /healthz HTTP/1.1\r\nX: ") as connection:
        sent = 0
        try:
            while sent < 100 * MEGABYTE:
                sent += connection.send(b"a" * 65536)
        except OSError:
            pass
        answer = heard(connection)
    assert sent < 100 * MEGABYTE
    assert answer == "" or answer.startswith("HTTP/1.1 431")
    assert answers(control_plane)


def test_connections_of_one_address_are_counted_but_not_those_of_this_machine_or_of_a_proxy() -> None:
    crowd = Crowd(Proxies("203.0.113.0/24"), each=2, most=9)
    assert [crowd.enter("198.51.100.7") for _ in range(3)] == [True, True, False]
    assert crowd.enter("198.51.100.8")
    assert all(crowd.enter(address) for address in ["203.0.113.9"] * 3 + ["127.0.0.1"] * 3)
    assert not crowd.enter("127.0.0.1")  # nor more than there is room for
    crowd.leave("198.51.100.7")
    assert crowd.enter("198.51.100.7")


def failures(plane: ControlPlane, addresses: list[str]) -> list[int]:
    """Return the statuses of failed logins that claim to come from these addresses."""
    with plane.api("zper_wrong") as wrong:
        return [wrong.get(JOBS, headers={"X-Forwarded-For": address}).status_code for address in addresses]


def test_nobody_says_himself_where_he_comes_from(own_control_plane: Callable[..., ControlPlane]) -> None:
    plane = own_control_plane(ZPE_FAILED_LOGINS_PER_MINUTE=3)
    assert failures(plane, [f"198.51.100.{n}" for n in range(5)]) == [401, 401, 401, 429, 429]
    assert "198.51.100." not in plane.log


def test_a_named_proxy_is_believed_if_it_names_an_address(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_FAILED_LOGINS_PER_MINUTE=1, FORWARDED_ALLOW_IPS="127.0.0.1,10.0.0.0/8")
    assert failures(plane, ["198.51.100.1", "198.51.100.2", "2001:db8::1", "198.51.100.2"]) == [
        *(401, 401, 401),
        429,
    ]
    # A client's own claim stands before what the proxy has added; a text is no address.
    assert failures(plane, ["203.0.113.1, 198.51.100.1", "203.0.113.2, 198.51.100.1, 10.1.1.1"]) == [429, 429]
    assert failures(plane, ["<b>admin</b>", "unknown, ::1%eth0"]) == [401, 429]
    with plane.api() as api:
        flags = {"X-Forwarded-For": "the administrator himself"}
        api.patch("/calc/zpe/admin/flags", json={"submission_enabled": True}, headers=flags)
        entry = api.get("/calc/zpe/admin/audit").json()["entries"][0]
    assert entry["address"] == "127.0.0.1"


def test_a_proxy_that_is_no_address_is_named_at_the_start() -> None:
    run = subprocess.run(
        [ZPE, "serve"],
        env=environment(FORWARDED_ALLOW_IPS="nginx"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "FORWARDED_ALLOW_IPS" in run.stderr
    assert "Traceback" not in run.stderr
