"""The setup guide by the letter: its commands, in order, in one shell; and its translation."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import PATIENCE, environment, free_port

ROOT = Path(__file__).parents[2]
GUIDES = {name: ROOT / "docs" / f"zpe-worker-setup{name}.md" for name in ("", ".ja")}


def blocks(guide: Path, language: str = "bash") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", guide.read_text(), flags=re.M | re.S)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that holds what a checkout does, and nothing that was made in one."""
    folder = tmp_path / "zpe"
    folder.mkdir()
    for name in ("scripts", "samples", ".venv", ".env.control.example", ".env.compute.example"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def ports() -> dict[str, int]:
    """Free ports, all different."""
    found: set[int] = set()
    while len(found) < 2:
        found.add(free_port())
    return dict(zip(("REDIS_PORT", "API_PORT"), found, strict=True))


@pytest.fixture
def shell(checkout: Path, ports: dict[str, int]) -> Iterator[subprocess.Popen[str]]:
    """A shell that runs the guide with ``set -eux``; all that it has started ends with the test."""
    script = checkout.parent / "guide.sh"
    script.write_text("\n".join(blocks(GUIDES[""])))
    process = subprocess.Popen(
        ["bash", "-euxo", "pipefail", str(script)],
        cwd=checkout,
        env=environment(HOME=checkout.parent, XDG_CONFIG_HOME=checkout.parent / "config", **ports),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    with contextlib.suppress(ProcessLookupError):  # as it should be
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.qe
def test_the_commands_of_the_guide_lead_to_a_zero_point_energy(
    shell: subprocess.Popen[str], checkout: Path
) -> None:
    said, _ = shell.communicate(timeout=2 * PATIENCE)
    assert shell.returncode == 0, said
    assert not processes_of(shell.pid), said

    data = checkout / "zpe-data"
    result = json.loads((data / "result.json").read_text())["result"]
    # PBE in these settings; experiment has 0.2728 eV (4401 cm-1, harmonic).
    assert result["zpe_ev"] == pytest.approx(0.2661, abs=0.0005)
    assert result["freqs_cm"][-1] == pytest.approx(4293, abs=5)
    assert result["fingerprint"]["engine"] == "espresso"
    assert json.loads((data / "status.json").read_text())["status"] == "finished"
    assert (data / "summary.txt").read_text().startswith("# ZPE summary: H2")
    assert (data / "freqs.csv").read_text().count("\n") == 7
    # The job of `zpe submit` and that of the script say the same as that of curl.
    assert f"ZPE = {result['zpe_ev']:.6f} eV" in said
    for log in ("control-plane.log", "worker.log"):
        assert (data / log).stat().st_size > 0


def processes_of(session: int) -> list[str]:
    """Return the command lines of what still runs in a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize("language", ["bash", "console"])
def test_the_translation_has_the_same_commands(language: str) -> None:
    assert blocks(GUIDES[".ja"], language) == blocks(GUIDES[""], language)


def test_no_secret_stands_in_a_command_line() -> None:
    for block in blocks(GUIDES[""]):
        assert not re.search(r"Bearer \$|Bearer \"\$", block.replace("printf 'Authorization: Bearer %s", ""))
