"""The command ``zpe`` in a shell: completion, exit statuses, interrupts, and a service around a command."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import PATIENCE, ZPE, ControlPlane, environment, h2
from tests.sdk.test_demo import left_of
from zpe_sdk import ZPEClient


def zpe(*arguments: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ZPE, *arguments], env=environment(**settings), capture_output=True, text=True, timeout=PATIENCE
    )


# Where each shell looks for the completion of a command.
COMPLETIONS = {
    "bash": ".bash_completions/zpe.sh",
    "fish": ".config/fish/completions/zpe.fish",
    "zsh": ".zfunc/_zpe",
}
# Each asks its shell what could follow a word, after the completion that `zpe` has installed for it.
ASKS = {
    "bash": """
        source {script}
        COMP_WORDS=(zpe {word}) COMP_CWORD=1
        _zpe_completion zpe
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "fish": """
        source {script}
        complete -C 'zpe {word}'
    """,
    # What it would hand to the line editor, which a shell without a terminal has not.
    "zsh": """
        autoload -Uz compinit
        compinit -u -D
        source {script}
        _arguments() {{ print -r -- "$@" }}
        words=(zpe {word}) CURRENT=2
        _zpe_completion
    """,
}


@pytest.mark.parametrize("shell", sorted(ASKS))
@pytest.mark.parametrize(("word", "expected"), [("job", "jobs"), ("embed", "embedded")])
def test_a_shell_completes_commands(shell: str, word: str, expected: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    home = environment(PATH=f"{Path(ZPE).parent}{os.pathsep}{os.environ['PATH']}", HOME=tmp_path)
    installed = subprocess.run(
        [program, "-c", "zpe --install-completion; true"],
        env=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    script = tmp_path / COMPLETIONS[shell]
    assert script.exists(), installed
    asked = subprocess.run(
        [program, "-c", ASKS[shell].format(script=script, word=word)],
        env=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert expected in re.split(r"\W+", asked.stdout), asked


INTERRUPTED_IMPORT = """
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
import zpe_sdk.cli
"""


def test_an_interrupt_while_it_starts_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT], env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "zpe: interrupted\n", "")


def test_an_interrupt_while_it_asks_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [ZPE, "jobs"],
            env=environment(ZPE_CONTROL_API_URL=url, ZPE_TOKEN="t" * 20, XDG_CONFIG_HOME=tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background jobs ignore interrupts; this one is to hear it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process:
            connection, _ = silent.accept()  # it has asked, and never hears
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            connection.close()
    assert (process.returncode, out, err) == (130, "", "zpe: interrupted\n")


@pytest.fixture
def shell(plane: ControlPlane, token: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return zpe(*arguments, ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=token, XDG_CONFIG_HOME=tmp_path)

    return run


Shell = Callable[..., "subprocess.CompletedProcess[str]"]


def test_waiting_for_many_tells_by_its_status_how_it_went(shell: Shell, client: ZPEClient) -> None:
    good = [client.submit(h2(f"good {n}"), name=f"good {n}", project="shell") for n in range(2)]
    assert shell("wait", *(job.id for job in good)).returncode == 0
    bad = client.submit(h2("mock: fail=bad_input times=always"), name="bad", project="shell")
    failed = shell("wait", bad.id, good[0].id)
    assert failed.returncode == 1
    assert f"{bad.id} (bad) is failed" in failed.stderr
    whole = shell("wait", "--project", "shell", "--json")
    assert whole.returncode == 1
    states = {job["name"]: job["status"] for job in json.loads(whole.stdout)}
    assert states == {"good 0": "finished", "good 1": "finished", "bad": "failed"}
    assert shell("wait", "--project", "shell", good[0].id).returncode == 2
    assert shell("wait").returncode == 2


def test_jobs_of_a_project_are_labelled_and_listed(
    shell: Shell, client: ZPEClient, plane: ControlPlane, tmp_path: Path
) -> None:
    with ZPEClient(plane.url, plane.admin_token) as admin:
        admin.admin.set_flags(dequeue_enabled=False)
        file = tmp_path / "hydrogen.in"
        file.write_text(h2("listed"))
        labels = ("--project", "listed", "--job-tag", "gas", "--note", "a try", "--once")
        made = json.loads(shell("submit", file, *labels, "--json").stdout)
        assert (made["name"], made["project"], made["tags"]) == ("hydrogen", "listed", ["gas"])
        assert shell("submit", file, *labels).stdout.strip() == made["job_id"]
        assert made["job_id"] in shell("jobs", "--project", "listed", "--state", "queued").stdout
        assert shell("update", made["job_id"], "--note", "", "--keep").returncode == 0
        changed = json.loads(shell("status", made["job_id"], "--json").stdout)
        assert (changed["note"], changed["keep"], changed["project"]) == (None, True, "listed")
        late = shell("wait", made["job_id"], "--timeout", "0.2")
        assert late.returncode == 3
        assert "it goes on" in late.stderr
        assert json.loads(shell("cancel", made["job_id"], "--json").stdout)["status"] == "cancelled"
        admin.admin.set_flags(dequeue_enabled=True)


def test_what_a_job_would_take_is_told_in_the_shell(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "hydrogen.in"
    file.write_text(h2("planned").replace("0.75", "0.77"))
    told = shell("plan", file)
    assert told.returncode == 0, told.stderr
    assert "3, 13 without symmetry" in told.stdout
    plan = json.loads(shell("plan", file, "--json").stdout)
    assert (plan["scfs"], plan["full"], plan["space_group"]) == (3, 13, "P4/mmm")
    none = shell("pseudopotentials", "H")
    assert none.returncode == 1
    assert "no machine" in none.stderr


def test_a_service_runs_around_a_command_and_ends_with_it(tmp_path: Path) -> None:
    folder, file = tmp_path / "service", tmp_path / "h2.in"
    file.write_text(h2("embedded"))
    inside = f"{ZPE} submit {file} --wait --name inside && {ZPE} jobs --json; exit 7"
    done = zpe("embedded", "--mock", "--data-dir", folder, "--", "sh", "-c", inside, XDG_CONFIG_HOME=tmp_path)
    assert done.returncode == 7, done.stderr
    assert "# ZPE summary: H2" in done.stdout
    assert '"name": "inside"' in done.stdout
    assert "zpea_" not in done.stdout + done.stderr
    assert left_of(folder) == []
    missing = zpe("embedded", "--mock", "--data-dir", folder, "--", tmp_path / "nothing")
    assert missing.returncode == 1
    assert "[config/command_not_found]" in missing.stderr
    assert left_of(folder) == []
