"""``zpe worker status``: how a worker is, by its folder alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import PATIENCE, ZPE, ControlPlane, environment, h2, wait_until
from zpe_sdk import ZPEClient
from zpe_sdk.errors import ConfigError
from zpe_sdk.worker.files import is_held, own_folder
from zpe_sdk.worker.held import Entry
from zpe_sdk.worker.journal import Journal
from zpe_sdk.worker.messages import OutboxMessage
from zpe_sdk.worker.outbox import Outbox
from zpe_sdk.worker.status import note_contact, status_of


def status(folder: Path, *more: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ZPE, "worker", "status", *more],
        env=environment(ZPE_WORK_DIR=folder, TZ="UTC", **settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads(status(folder, "--json").stdout))


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_worker_at_work_is_seen_and_one_that_was_killed_left_something(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    with ZPEClient(plane.url, plane.admin_token) as client:
        job = client.submit(h2(), name="hydrogen, gas")
    worker = plane.worker("lab-pc", ZPE_MOCK_SCF_SECONDS=600, ZPE_SLOTS=1)
    folder = plane.folder / "lab-pc"
    wait_until(lambda: (folder / "leases").is_dir() and any(e.running for e in status_of(folder).leases))
    wait_until(lambda: status_of(folder).last_contact_at is not None)
    found = told(folder)
    assert found["running"] is True
    assert (found["process"]["pid"], found["process"]["name"]) == (worker.pid, "lab-pc")
    assert found["control_url"].rstrip("/") == plane.url
    [lease] = [lease for lease in found["leases"] if lease["running"]]
    assert (lease["job_id"], lease["job"], lease["scfs"], lease["running"]) == (
        job.id,
        "hydrogen, gas",
        3,
        [0],
    )
    shown = status(folder)
    assert shown.returncode == 0
    assert f"runs as process {worker.pid} on " in shown.stdout
    assert "hydrogen, gas: SCF 1 of 3 runs" in shown.stdout
    token = json.loads((folder / "identity.json").read_text())["worker_token"]
    assert token not in shown.stdout + json.dumps(found)

    worker.kill()
    worker.wait()
    shown = status(folder)
    assert shown.returncode == 1
    assert "does not run" in shown.stdout
    assert "left behind" in shown.stdout
    assert str(worker.pid) not in shown.stdout


def test_results_that_could_not_be_delivered_are_counted(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    with ZPEClient(plane.url, plane.admin_token) as client:
        client.submit(h2())
    plane.worker("cut-off", ZPE_MOCK_SCF_SECONDS=1, ZPE_SLOTS=1)
    folder = plane.folder / "cut-off"
    wait_until(lambda: (folder / "leases").is_dir() and any(e.running for e in status_of(folder).leases))
    plane.kill()
    wait_until(lambda: status_of(folder).results > 0)
    assert "finished SCFs to deliver" in status(folder).stdout


def test_to_look_changes_nothing_and_what_cannot_be_read_does_not_matter(tmp_path: Path) -> None:
    with own_folder(tmp_path):
        Journal(tmp_path / "leases").note(Entry("job-1", "lease-1", [2], [3, 4], "water", 7))
        (tmp_path / "leases" / "old.json").write_text('{"job_id": "j", "lease_id": "old", "running": [0]}')
        (tmp_path / "leases" / "broken.json").write_text("{")
        outbox = Outbox(tmp_path / "outbox")
        outbox.put(OutboxMessage(job_id="job-1", lease_id="lease-1", returned=[3]))
        (tmp_path / "outbox" / "1.json").write_text("no message")
        (tmp_path / "outbox" / ".2.json.new").touch()
        (tmp_path / "outbox" / "aside" / "3.json").touch()
        (tmp_path / "identity.json").write_text("{")
        note_contact(tmp_path)
        before = files_in(tmp_path)
        found = status_of(tmp_path)
        shown = status(tmp_path)
        assert files_in(tmp_path) == before
    assert found.running
    assert {entry.lease_id for entry in found.leases} == {"lease-1", "old"}
    assert (found.results, found.messages, found.later, found.aside) == (0, 1, 0, 1)
    assert (found.process, found.server_id) == (None, None)
    assert found.last_contact_at is not None
    assert shown.returncode == 0, shown.stderr
    assert "water: SCF 3 of 7 runs, SCF 4-5 of 7 wait" in shown.stdout
    assert "job j: SCF 1 runs" in shown.stdout


def test_a_folder_is_free_after_a_look_and_held_while_it_is_used(tmp_path: Path) -> None:
    with own_folder(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(ConfigError, match="another worker is at work"), own_folder(tmp_path):
            pass
    assert not is_held(tmp_path)
    with own_folder(tmp_path):
        assert is_held(tmp_path)


def test_a_folder_without_a_worker_and_options_in_the_wrong_place_are_clear_errors(tmp_path: Path) -> None:
    nobody = status(tmp_path)
    assert nobody.returncode == 1
    assert f"{tmp_path}: no worker has been at work there" in nobody.stderr
    wrong = subprocess.run(
        [ZPE, "worker", "--work-dir", tmp_path, "status"],
        env=environment() | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert wrong.returncode == 2
    assert "options of 'status' come after it" in wrong.stderr
    assert os.listdir(tmp_path) == []
