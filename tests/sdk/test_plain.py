"""What others have written is shown without commanding a terminal or turning a line round."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import PATIENCE, ZPE, ControlPlane, environment, h2
from zpe_sdk.errors import InputError
from zpe_sdk.plain import escaped, plain, plain_lines

# ESC, OSC (the title of a terminal), a C1 control, a bell, a turn of the line, a line that nobody has logged.
EVIL = "\x1b[31mred\x1b]0;owned\x07\x9b2J\u202egnp.exe\r\n2026-01-01 [info] all is well"
COMMANDS = "\x1b\x07\x9b\u202e\u2066\u2069\r"


def is_harmless(text: str) -> bool:
    return not any(letter in text for letter in COMMANDS)


@given(st.text())
def test_what_is_shown_is_printable_and_of_the_same_length(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)
    assert all(letter.isprintable() or letter in "\n\t" for letter in plain_lines(text))


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_says_the_same_in_printable_characters(value: object) -> None:
    shown = escaped(json.dumps(value, indent=1, ensure_ascii=False))
    assert json.loads(shown) == value
    assert all(line.isprintable() for line in shown.split("\n"))


def test_good_texts_stay_as_they_are() -> None:
    summary = "ZPE  0.27 eV ± 1 meV\n\tν(O–H) 3750 cm⁻¹, 水の振動\n"
    assert plain_lines(summary) == summary
    assert plain("Ångström 水") == "Ångström 水"


def test_an_error_is_harmless() -> None:
    assert is_harmless(str(InputError(EVIL, code="bad_input")))
    assert is_harmless(InputError(EVIL, code="bad_input").message)


class Replies(BaseHTTPRequestHandler):
    """A control plane whose every text is evil."""

    def do_GET(self) -> None:
        status = {"job_id": "j", "status": "failed", "updated_at": "x", "created_at": "x", "version": 1}
        status |= dict.fromkeys(("detail", "name", "formula", "owner"), EVIL)
        status |= {"workers": [EVIL], "progress": {"done": 0, "total": 1}}
        error = {"side": "compute", "code": EVIL, "message": EVIL, "worker": EVIL, "traceback": EVIL}
        status["error"] = error
        if "/files" in self.path:
            text, code = EVIL.encode(), 200
        elif "refused" in self.path:
            text, code = json.dumps({"detail": EVIL, "error": error}).encode(), 422
        elif self.path.startswith("/calc/zpe/jobs?"):
            text, code = json.dumps({"jobs": [status], "total": 1}).encode(), 200
        else:
            text, code = json.dumps(status).encode(), 200
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def evil() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Replies) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "command",
    [
        ["jobs"],
        ["jobs", "--json"],
        ["status", "j"],
        ["status", "j", "--json"],
        ["status", "refused"],
        ["wait", "j"],
        ["result", "j"],
        ["result", "j", "--csv"],
    ],
)
def test_nothing_that_a_command_prints_commands_the_terminal(
    command: list[str], evil: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [ZPE, *command],
        env=environment(ZPE_CONTROL_API_URL=evil, ZPE_TOKEN="zpe_api_x", XDG_CONFIG_HOME=tmp_path),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    shown = (done.stdout + done.stderr).decode()
    assert is_harmless(shown)
    assert "gnp.exe" in shown
    assert "Traceback" not in shown


def test_what_a_worker_sends_is_harmless_when_it_is_stored(control_plane: ControlPlane) -> None:
    worker = control_plane.register(name=EVIL)
    with control_plane.api() as api, control_plane.api(worker["worker_token"]) as node:
        submitted = api.post("/calc/zpe/jobs", json={"content": h2(), "name": EVIL})
        assert submitted.status_code == 200, submitted.text
        job = submitted.json()["job_id"]
        able = {"engine": "mock", "engine_version": EVIL}
        leased = node.post("/calc/zpe/compute/jobs/lease", json={"capabilities": able}).json()
        failure = {"error_code": "pw_crashed", "error_message": EVIL, "traceback": EVIL}
        node.post(
            f"/calc/zpe/compute/jobs/{job}/failed", json=failure | {"lease_id": leased["lease_id"]}
        ).raise_for_status()
        shown = [
            api.get(path).json()
            for path in (
                f"/calc/zpe/jobs/{job}",
                f"/calc/zpe/jobs/{job}/detail",
                "/calc/zpe/compute/servers",
                "/calc/zpe/admin/audit",
            )
        ]
        api.post(f"/calc/zpe/jobs/{job}/cancel")
    text = json.dumps(shown, ensure_ascii=False)
    assert "gnp.exe" in text
    for command in ("\\u001b", "\\u0007", "\u202e", "\x9b"):
        assert command not in text


def test_a_line_in_the_log_of_a_terminal_is_one_line() -> None:
    code = (
        "import structlog; from zpe_sdk.logging import configure_logging\n"
        "configure_logging('INFO', json=False); "
        f"structlog.get_logger('x').info('work taken', name={EVIL!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PATIENCE, check=True)
    [line] = done.stderr.decode().splitlines()
    assert "gnp.exe" in line
    assert not any(letter in line for letter in "\x9b\x07\u202e")
    assert "\x1b]0" not in line


def test_a_name_that_may_not_be_is_said_in_words(control_plane: ControlPlane) -> None:
    with control_plane.api() as api:
        for asked in (
            api.post("/calc/zpe/admin/tokens", json={"owner": "ada lovelace"}),
            api.get("/calc/zpe/jobs", params={"owner": "ada lovelace"}),
        ):
            assert asked.status_code == 422
            message = asked.json()["error"]["message"]
            assert message == "owner: may hold letters, digits and . @ + - _ only"
