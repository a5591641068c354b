"""The demonstration: everything started, one job run, everything stopped."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.processes import ZPE, Process, environment, wait_until

SAMPLE = Path(__file__).parents[2] / "samples" / "qe-in" / "h2_zpe.in"


def left_of(folder: Path) -> list[str]:
    """Return the command lines of processes that work in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        texts = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
        if any(str(folder) in text for text in texts) and process.pid != psutil.Process().pid:
            found.append(" ".join(process.info["cmdline"] or []))
    return found


@pytest.mark.parametrize(
    ("arguments", "low", "high"),
    [
        (["--mock"], 0.27, 0.28),
        # 4293 cm⁻¹ of PBE; experiment: 4401 cm⁻¹ and 0.2729 eV (harmonic).
        pytest.param([], 0.264, 0.274, marks=pytest.mark.qe),
    ],
)
def test_demo_shows_a_result_and_leaves_nothing_running(
    arguments: list[str], low: float, high: float, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    run = subprocess.run(
        [ZPE, "demo", SAMPLE, "--data-dir", folder, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    [zpe] = [float(line.split()[1]) for line in run.stdout.splitlines() if line.startswith("ZPE  ")]
    assert low < zpe < high
    assert ("MOCK" in run.stderr) == bool(arguments)
    assert left_of(folder) == []


def test_a_demo_without_an_input_starts_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [ZPE, "demo", "--mock"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "h2_zpe.in" in run.stderr
    assert "clone" in run.stderr
    assert "Starting" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_killed_takes_its_processes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    run = Process(
        [ZPE, "demo", SAMPLE, "--mock", "--data-dir", folder], tmp_path / "demo.log", env=environment()
    )
    wait_until(lambda: (folder / "control-plane.log").exists() and len(left_of(folder)) > 2)
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_until(lambda: left_of(folder) == [])
