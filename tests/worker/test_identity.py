"""Who a worker is: on disk, and towards a real control plane."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from tests.processes import PATIENCE, environment, wait_until
from tests.worker.disk import full_disk, make_room
from zpe_sdk.errors import AuthError, ConfigError
from zpe_sdk.wire import Capabilities, HeartbeatRequest
from zpe_sdk.worker.control import ControlPlane
from zpe_sdk.worker.files import own_folder, write_durably
from zpe_sdk.worker.identity import Credentials
from zpe_sdk.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from tests.processes import ControlPlane as Plane


def establish(plane: Plane, folder: Path, **more: Any) -> tuple[ControlPlane, Credentials]:
    settings = WorkerSettings.model_validate({"control_api_url": plane.url, "work_dir": folder, **more})
    control = ControlPlane(settings, Event())
    credentials = Credentials(settings, control)
    credentials.establish(Capabilities())
    return control, credentials


def saved(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "identity.json").read_text()))


def grow_old(folder: Path, age: float) -> None:
    """Let the saved token have come longer ago: ``age`` of its life."""
    identity = saved(folder)
    identity["received"] -= identity["token_ttl_seconds"] * age
    (folder / "identity.json").write_text(json.dumps(identity))


def known(control: ControlPlane) -> bool:
    try:
        control.heartbeat(HeartbeatRequest(), seconds=5)
    except AuthError:
        return False
    return True


def test_a_worker_enrols_once_and_knows_itself_after_a_restart(control_plane: Plane, tmp_path: Path) -> None:
    enroll_token = control_plane.enroll_token()
    first, _ = establish(control_plane, tmp_path, enroll_token=enroll_token)
    assert known(first)
    # The unit file still holds the token, used up by now; or somebody has removed it.
    again, _ = establish(control_plane, tmp_path, enroll_token=enroll_token)
    without, _ = establish(control_plane, tmp_path)
    vanished, _ = establish(control_plane, tmp_path, enroll_file=tmp_path / "vanished")
    assert again.token == without.token == vanished.token == first.token
    assert known(without)


def test_a_new_enroll_token_makes_a_new_worker(control_plane: Plane, tmp_path: Path) -> None:
    first, _ = establish(control_plane, tmp_path, enroll_token=control_plane.enroll_token())
    server_id = saved(tmp_path)["server_id"]
    with control_plane.api() as api:
        api.delete(f"/calc/zpe/compute/servers/{server_id}").raise_for_status()
    assert not known(first)
    file = tmp_path / "token"
    file.write_text(control_plane.enroll_token() + "\n")
    second, _ = establish(control_plane, tmp_path, enroll_file=file)
    assert known(second)


def test_the_identity_is_for_its_owner_only(control_plane: Plane, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with own_folder(folder):
        establish(control_plane, folder, enroll_token=control_plane.enroll_token())
    assert stat.S_IMODE((folder / "identity.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_token_is_renewed_at_half_of_its_life_and_the_old_one_goes_on(
    control_plane: Plane, tmp_path: Path
) -> None:
    control, credentials = establish(control_plane, tmp_path, enroll_token=control_plane.enroll_token())
    credentials.rotate_if_due()
    old = control.token
    assert saved(tmp_path)["worker_token"] == old  # fresh: nothing to do

    grow_old(tmp_path, 0.51)
    control, credentials = establish(control_plane, tmp_path)
    credentials.rotate_if_due()
    assert control.token != old
    assert known(control)
    after_restart, _ = establish(control_plane, tmp_path)
    assert after_restart.token == control.token
    after_restart.token = old  # a request that was on its way
    assert known(after_restart)


def test_a_token_is_not_renewed_while_the_disk_is_full(control_plane: Plane, tmp_path: Path) -> None:
    first, _ = establish(control_plane, tmp_path, enroll_token=control_plane.enroll_token())
    grow_old(tmp_path, 0.51)
    control, credentials = establish(control_plane, tmp_path)
    with full_disk(), capture_logs() as logs:
        credentials.rotate_if_due()
        credentials.rotate_if_due()
    assert [entry["log_level"] for entry in logs] == ["warning"]  # said once
    assert control.token == first.token == saved(tmp_path)["worker_token"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["identity.json"]
    credentials.rotate_if_due()
    assert control.token == saved(tmp_path)["worker_token"] != first.token
    assert known(control)


def test_a_token_that_is_about_to_end_is_renewed_in_memory_and_written_when_there_is_room(
    control_plane: Plane, tmp_path: Path
) -> None:
    first, _ = establish(control_plane, tmp_path, enroll_token=control_plane.enroll_token())
    grow_old(tmp_path, 0.91)
    control, credentials = establish(control_plane, tmp_path)
    with full_disk(), capture_logs():
        credentials.rotate_if_due()
        credentials.rotate_if_due()
    assert control.token != first.token
    assert known(control)
    assert saved(tmp_path)["worker_token"] == first.token
    renewed = control.token
    credentials.rotate_if_due()
    assert control.token == saved(tmp_path)["worker_token"] == renewed


def test_a_worker_outlives_a_full_disk_and_its_token(own_control_plane: Callable[..., Plane]) -> None:
    plane = own_control_plane(ZPE_WORKER_TOKEN_GRACE_SECONDS=1, ZPE_LEASE_TTL_SECONDS=1)
    folder = plane.folder / "worker"
    folder.mkdir()
    establish(plane, folder, enroll_token=plane.enroll_token())
    grow_old(folder, 0.91)
    old = saved(folder)["worker_token"]
    with full_disk():
        worker = plane.worker()

    def over() -> bool:
        with plane.api(old) as api:
            return api.post("/calc/zpe/compute/heartbeat", json={}).status_code == 401

    wait_until(over)
    assert saved(folder)["worker_token"] == old
    make_room(worker.pid)
    wait_until(lambda: saved(folder)["worker_token"] != old)
    assert worker.poll() is None
    after_restart, _ = establish(plane, folder)
    assert known(after_restart)


def test_a_full_disk_does_not_use_up_an_enroll_token(control_plane: Plane, tmp_path: Path) -> None:
    enroll_token = control_plane.enroll_token()
    with full_disk():
        worker = subprocess.run(
            [sys.executable, "-m", "zpe_sdk.worker", "--url", control_plane.url, "--mode", "mock"],
            env=environment(ZPE_ENROLL_TOKEN=enroll_token, ZPE_WORK_DIR=tmp_path / "work"),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert worker.returncode == 1
    last = worker.stderr.splitlines()[-1]
    assert last.startswith(f"zpe worker: {tmp_path / 'work' / 'identity.json'} cannot be written: ")
    assert last.endswith("; the enroll token was not used [config/bad_work_dir]")
    assert "Traceback" not in worker.stderr
    control, _ = establish(control_plane, tmp_path / "work", enroll_token=enroll_token)
    assert known(control)


def test_a_worker_without_an_enroll_token_says_what_it_needs(control_plane: Plane, tmp_path: Path) -> None:
    with pytest.raises(AuthError) as caught:
        establish(control_plane, tmp_path)
    assert caught.value.code == "not_enrolled"
    with pytest.raises(AuthError) as caught:
        establish(control_plane, tmp_path, enroll_token="zpee_of-nobody-at-all-0000000")
    assert caught.value.code == "bad_enroll_token"
    assert "zpee_of" not in str(caught.value)


def test_a_saved_token_goes_to_no_other_control_plane(control_plane: Plane, tmp_path: Path) -> None:
    establish(control_plane, tmp_path, enroll_token=control_plane.enroll_token())
    with pytest.raises(AuthError) as caught:
        establish(control_plane, tmp_path, control_api_url=f"http://localhost:{control_plane.port}")
    assert caught.value.code == "not_enrolled"


def test_a_slash_more_or_less_makes_no_other_control_plane(control_plane: Plane, tmp_path: Path) -> None:
    first, _ = establish(control_plane, tmp_path, enroll_token=control_plane.enroll_token())
    for slashes in ("/", ""):
        again, _ = establish(control_plane, tmp_path, control_api_url=control_plane.url + slashes)
        assert again.token == first.token
        assert known(again)


def test_an_identity_that_cannot_be_read_is_not_overwritten(control_plane: Plane, tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text('{"worker_token": "zpew_secret"')
    with pytest.raises(ConfigError) as caught:
        establish(control_plane, tmp_path, enroll_token="zpee_0000000000000000")
    assert caught.value.code == "bad_identity_file"
    assert "zpew_secret" not in str(caught.value)
    assert (tmp_path / "identity.json").read_text() == '{"worker_token": "zpew_secret"'


def test_two_workers_never_share_a_folder(tmp_path: Path) -> None:
    with own_folder(tmp_path), pytest.raises(ConfigError) as caught, own_folder(tmp_path):
        pass
    assert (caught.value.code, caught.value.field) == ("work_dir_in_use", "ZPE_WORK_DIR")
    with own_folder(tmp_path):  # free again
        pass
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught, own_folder(tmp_path / "file" / "work"):
        pass
    assert caught.value.code == "bad_work_dir"


def test_a_file_is_replaced_whole_and_leftovers_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    write_durably(path, "one")
    (tmp_path / ".identity.json.new").write_text("of a process that was killed")
    write_durably(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["identity.json"]


def test_an_enroll_token_is_read_from_a_file_or_the_file_is_named(
    control_plane: Plane, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        establish(control_plane, tmp_path, enroll_file=tmp_path / "none")
    assert (caught.value.code, caught.value.field) == ("bad_enroll_file", "ZPE_ENROLL_FILE")
    assert str(tmp_path / "none") in str(caught.value)
