"""How a machine becomes a compute node: the token passes through files and standard input alone."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE, ZPE, ControlPlane, Process, environment
from zpe_sdk.client.enrolment import enrol_commands


def settings(folder: Path, **more: object) -> dict[str, str]:
    found = environment(HOME=folder, ZPE_WORKER_MODE="mock", ZPE_DRAIN=1, ZPE_WORKER_NAME=folder.name, **more)
    # The commands name zpe as a user has it.
    return found | {"PATH": f"{Path(ZPE).parent}{os.pathsep}{found['PATH']}"}


def enrolled(plane: ControlPlane, name: str) -> bool:
    with plane.api() as api:
        found = api.get("/calc/zpe/compute/servers").raise_for_status().json()["workers"]
    return name in [worker["name"] for worker in found]


def test_the_token_comes_from_standard_input_and_is_asked_for_once(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    token = control_plane.enroll_token()
    command = [ZPE, "worker", "--url", control_plane.url, "--enroll-file", "-"]
    for given in (f"{token}\n", ""):  # a restart finds nobody who would paste it
        done = subprocess.run(
            command,
            input=given,
            env=settings(tmp_path),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert token not in done.stdout + done.stderr
    assert enrolled(control_plane, tmp_path.name)


def test_a_token_that_is_typed_is_not_echoed(control_plane: ControlPlane, tmp_path: Path) -> None:
    token = control_plane.enroll_token()
    keyboard, terminal = pty.openpty()
    with Process(
        [ZPE, "worker", "--url", control_plane.url, "--enroll-file", "-"],
        env=settings(tmp_path),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        seen = b""
        while b"Enroll token" not in seen:
            seen += os.read(keyboard, 1024)
        os.write(keyboard, token.encode() + b"\n")
        try:
            while part := os.read(keyboard, 1024):
                seen += part
        except OSError:  # what Linux says when the other end has closed
            pass
        os.close(keyboard)
        assert process.wait() == 0
    assert token.encode() not in seen
    assert enrolled(control_plane, tmp_path.name)


def test_nothing_given_is_one_line(control_plane: ControlPlane, tmp_path: Path) -> None:
    done = subprocess.run(
        [ZPE, "worker", "--url", control_plane.url, "--enroll-file", "-"],
        stdin=subprocess.DEVNULL,
        env=settings(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "[auth/bad_token]" in done.stderr.splitlines()[-1]


def test_an_administrator_writes_the_token_to_a_file_of_their_own(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    def mint(file: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ZPE, "admin", "enroll-token", "-o", str(file)],
            env=environment(ZPE_CONTROL_API_URL=control_plane.url, ZPE_TOKEN=control_plane.admin_token),
            umask=0o022,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    file = tmp_path / "enroll-token"
    done = mint(file)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = file.read_text().strip()
    assert token.startswith("zpee_")
    assert token not in done.stdout + done.stderr
    assert "--enroll-file -" in done.stderr
    again = mint(file)  # whoever could read what was there would read this too
    assert again.returncode == 1
    assert "[input/file_unwritable]" in again.stderr
    assert file.read_text().strip() == token


@pytest.mark.parametrize("way", ["terminal", "systemd", "slurm"])
def test_the_commands_that_are_shown_enrol_a_worker(
    way: str, control_plane: ControlPlane, tmp_path: Path
) -> None:
    """As they stand, but without root, and with what systemd and Slurm do with the settings."""
    token = control_plane.enroll_token()
    shown = enrol_commands(control_plane.url)[way]  # type: ignore[index]
    worker = f"exec {sys.executable} -m zpe_sdk.worker; }}"
    started = {
        "terminal": "",
        "systemd": 'sudo() { "$@"; }\nsystemctl() { set -a; . ETC/compute.env; . ETC/enroll.env; ' + worker,
        "slurm": "sbatch() { set -a; . ~/.zpe/compute.env; " + worker,
    }[way]
    script = f"{started}\n{shown}\n".replace("/etc/zpe", "ETC").replace("ETC", str(tmp_path / "etc"))
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        input=f"{token}\n",
        env=settings(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert enrolled(control_plane, tmp_path.name)
    identity = json.loads((tmp_path / ".zpe/worker/identity.json").read_text())
    assert identity["control_url"].rstrip("/") == control_plane.url
    for file in (path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size):
        if token in file.read_text(errors="replace"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
