"""A worker's log: lines for a person in a terminal, JSON for programs everywhere else."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
from collections.abc import Callable

import pytest
from rich.cells import cell_len

from tests.processes import PATIENCE, ZPE, ControlPlane, environment, h2
from zpe_sdk import ZPEClient
from zpe_sdk.ranges import numbered
from zpe_sdk.worker.lines import WIDTH, Lines

JOB = "9d0c1b7a" + 24 * "f"


def rendered(lines: Lines, event: str, **fields: object) -> list[str]:
    record = {"timestamp": "2026-11-29T00:46:45.1Z", "level": "info", "event": event} | fields
    return lines(None, "", record).split("\n")


def taken(lines: Lines, name: str | None, stage: str = "vibrations", scfs: int = 7) -> list[str]:
    more = {"job": name, "scfs": scfs, "stage": stage, "tasks": [0, 1, 2, 4]}
    return rendered(lines, "work taken", job_id=JOB, lease_id=32 * "a", request_id=32 * "b", **more)


def in_a_terminal(command: list[str], settings: dict[str, str]) -> str:
    """Run a command whose standard error is a terminal; return what it shows."""
    ours, its = pty.openpty()
    with subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=its) as process:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # which a terminal says at the end
            while part := os.read(ours, 65536):
                shown += part
        os.close(ours)
        assert process.wait(PATIENCE) == 0, shown
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_shows_which_scf_of_which_job_and_a_pipe_all_that_is_known(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    settings: dict[str, object] = {
        "ZPE_CONTROL_API_URL": plane.url,
        "ZPE_DRAIN": 1,
        "ZPE_WORKER_MODE": "mock",
    }
    with ZPEClient(plane.url, plane.admin_token) as client:
        job = client.submit(h2(), name="hydrogen, gas")
        shown = in_a_terminal(
            [ZPE, "worker"],
            environment(
                **settings,
                ZPE_WORK_DIR=plane.folder / "one",
                ZPE_ENROLL_TOKEN=plane.enroll_token(),
                ZPE_SLOTS=1,
            ),
        )
        lines = shown.splitlines()
        done = [line for line in lines if "SCF done" in line]
        assert len(done) == 3
        for n, line in enumerate(done, 1):
            assert re.match(
                rf"[-\d]{{10}} [:\d]{{8}}  hydrogen, gas +SCF {n} of 3 +SCF done: [\d.]+ s", line
            ), line
        assert max(map(len, lines)) <= WIDTH
        assert f"job {job.id[:8]}" in shown
        assert not re.search(r"[0-9a-f]{32}", shown), shown

        again = client.submit(h2(), name="hydrogen, gas", calc_mode="new")
        worker = plane.worker("two", ZPE_DRAIN=1)
        assert worker.wait() == 0
    records = [json.loads(line) for line in worker.log.read_text().splitlines()]
    [first, *_] = (record for record in records if record["event"] == "work taken")
    assert (first["job_id"], first["job"], first["scfs"]) == (again.id, "hydrogen, gas", 3)
    assert {record["job_id"] for record in records if record["event"] == "SCF done"} == {again.id}


def test_a_job_that_this_process_has_not_taken_is_named_by_the_beginning_of_its_id() -> None:
    lines = Lines(colours=False)
    [line] = rendered(lines, "failure was reported", job_id=JOB, running=[3])
    assert line[21:] == "9d0c1b7a              SCF 4          failure was reported"
    taken(lines, "water")
    [line] = rendered(lines, "failure was reported", job_id=JOB, running=[3])
    assert line[21:] == "water                 SCF 4 of 7     failure was reported"


def test_a_relaxation_is_not_called_an_scf_until_its_displacements_come() -> None:
    lines = Lines(colours=False)
    taken(lines, "water", "relax", 1)
    [line] = rendered(lines, "ionic step done", job_id=JOB, task=0, step=3, max_force_ev_ang=0.01)
    assert (
        line[21:] == "water                 relaxation     ionic step done: step 3; largest force 0.01 eV/Å"
    )
    taken(lines, "water")
    [line] = rendered(lines, "iteration 4", job_id=JOB, task=0, accuracy_ry=1e-6)
    assert line[21:] == "water                 SCF 1 of 7     iteration 4: accuracy 1e-06 Ry"


@pytest.mark.parametrize("name", ["water", "w" * 200, "水の零点エネルギーを計算する仕事の長い名前"])
def test_long_records_go_on_in_the_next_line_and_lose_nothing(name: str) -> None:
    lines = Lines(colours=False)
    [line] = taken(lines, name)
    columns = cell_len(line[: line.index("SCF 1")])
    reason = " ".join(f"because{n}" for n in range(60))
    shown = rendered(lines, "SCF failed", level="warning", job_id=JOB, task=1, reason=reason)
    assert cell_len(shown[0][: shown[0].index("SCF 2")]) == columns == 43
    assert max(map(cell_len, shown)) <= WIDTH
    assert "WARNING  SCF failed: because0 " in shown[0]
    assert " ".join(" ".join(shown).split()).endswith(reason)


def test_a_job_cannot_command_the_terminal_and_a_traceback_stays_as_it_is() -> None:
    lines = Lines(colours=True)
    trace = "Traceback:\n  File x\n" + "E" * 300
    shown = rendered(
        lines, "the engine broke", level="error", job_id=JOB, reason="\033]0;mine\007\u202e", exception=trace
    )
    assert shown[-3:] == trace.split("\n")
    assert "\n".join(shown).count("\033") == 2  # our own colour
    assert "\u202e" not in "\n".join(shown)


def test_tasks_are_counted_as_people_count() -> None:
    assert numbered([0]) == "1"
    assert numbered([4, 0, 1, 2]) == "1-3, 5"
