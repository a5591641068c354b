"""docs/operations.md: its table of calls is complete, its metrics exist, its backup can be restored."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from tests.processes import PATIENCE, ZPE, ControlPlane, environment, free_port
from zpe_sdk.cli import admin
from zpe_server.api import admin as admin_api
from zpe_server.api import workers as workers_api

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def test_every_call_of_administrators_has_a_command() -> None:
    documented = dict(re.findall(r"^\| `([A-Z]+ /calc/\S+)` \| `(.*?)`.*\|$", PAGE, flags=re.M))
    routes = [*admin_api.router.routes, *workers_api.router.routes]
    calls = {f"{method} {route.path}" for route in routes for method in route.methods}
    assert set(documented) == calls
    commands = get_command(admin.app).commands
    named = {re.findall(r"^zpe admin ([\w-]+)", command)[0] for command in documented.values()}
    assert named == set(commands)
    for command in documented.values():
        name, *options = command.removeprefix("zpe admin ").split()
        known = {option for parameter in commands[name].params for option in parameter.opts}
        known |= {option for parameter in commands[name].params for option in parameter.secondary_opts}
        assert {option for option in options if option.startswith("--")} <= known


def test_every_metric_is_listed(own_control_plane: Callable[..., ControlPlane]) -> None:
    plane = own_control_plane()
    plane.register(name="lab-pc")
    with plane.api() as api:
        text = api.get("/metrics").raise_for_status().text
    section = PAGE.split("## Metrics")[1].split("deploy/monitoring")[0]
    exposed = set(re.findall(r"^# TYPE (zpe_\w+) ", text, flags=re.M))
    assert set(re.findall(r"\b(zpe_\w+)", section)) == exposed


def test_a_backup_can_be_restored(tmp_path: Path, unused_port: int) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (block,) = re.findall(r"^```bash\n(.*?)^```$", PAGE, flags=re.M | re.S)
    (tmp_path / "backup.sh").write_text(block)
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "backup.sh"],
        cwd=tmp_path,
        env=environment(API_PORT=unused_port, PATH=f"{Path(ZPE).parent}:{os.environ['PATH']}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        assert "# ZPE summary: H2" in said
        assert str(tmp_path / "elsewhere") in (tmp_path / "after.log").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):  # as it should be
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    return free_port()
