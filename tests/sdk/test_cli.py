"""The command ``zpe`` as a process, against a real control plane and worker."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from typer.main import get_command

from tests.processes import PATIENCE, ZPE, ControlPlane, Process, environment, h2, wait_until
from zpe_sdk.cli import admin, app, main, worker, workers

Run = Callable[..., subprocess.CompletedProcess[str]]


def run_zpe(*arguments: str, stdin: str = "", **settings: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [ZPE, *arguments],
        env=environment(**settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def settings(plane: ControlPlane, token: str, tmp_path: Path) -> dict[str, object]:
    """The environment of a researcher."""
    return {"ZPE_CONTROL_API_URL": plane.url, "ZPE_TOKEN": token, "XDG_CONFIG_HOME": tmp_path}


@pytest.fixture
def zpe(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run ``zpe`` as a researcher, in this process: starting Python each time would take minutes."""

    def run(*arguments: str, stdin: str = "", **more: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["zpe", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        for name, value in (settings | more).items():
            monkeypatch.setenv(name, str(value))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), out, err)

    return run


def test_from_submission_to_result(zpe: Run, settings: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "h2.in").write_text(h2())
    job = run_zpe("submit", str(tmp_path / "h2.in"), "--name", "hydrogen", **settings).stdout.strip()
    assert run_zpe("wait", job, **settings).returncode == 0
    assert run_zpe("result", job, **settings).stdout.startswith("# ZPE summary: H2")

    shown = zpe("status", job, "--json")
    assert json.loads(shown.stdout)["status"] == "finished"
    assert "finished" in zpe("status", job).stdout

    listed = json.loads(zpe("jobs", "--json", "--search", "hydrogen").stdout)
    assert [item["job_id"] for item in listed] == [job]
    # Nothing of a table is cut off in a pipe.
    assert job in zpe("jobs").stdout
    [_, lowest, *_] = zpe("jobs", "--order", "zpe").stdout.splitlines()
    assert "0.2731" in lowest

    result = json.loads(zpe("result", job, "--json").stdout)
    assert result["freqs_cm"][-1] == pytest.approx(4400, abs=60)
    assert zpe("result", job, "--csv", "-o", str(tmp_path / "freqs.csv")).stdout == ""
    rows = list(csv.DictReader((tmp_path / "freqs.csv").open()))
    assert float(rows[-1]["frequency_cm^-1"]) == pytest.approx(result["freqs_cm"][-1], abs=1e-5)


def test_submit_and_wait_from_standard_input(zpe: Run) -> None:
    done = zpe("submit", "-", "--wait", "--mobile", "1", stdin=h2())
    assert done.returncode == 0
    assert "1 of 2 atoms mobile" in done.stdout
    assert done.stderr.startswith("job ")


def test_a_single_energy(zpe: Run, tmp_path: Path) -> None:
    (tmp_path / "h2.in").write_text(h2())
    done = zpe("energy", str(tmp_path / "h2.in"), "--wait")
    assert done.stdout.startswith("# Energy summary: H2")
    job = done.stderr.split()[1]
    assert "energy" in zpe("status", job).stdout
    assert zpe("result", job, "--csv").stdout.startswith("step,energy_eV")
    assert zpe("result", job, "--input").stdout.strip() == h2().strip()
    assert json.loads(zpe("result", job, "--json").stdout)["kind"] == "energy"


def test_a_failed_and_a_cancelled_job(zpe: Run) -> None:
    failed = zpe("submit", "-", "--wait", stdin=h2("mock: fail=bad_input times=always"))
    assert failed.returncode == 1
    assert "[input/bad_input]" in failed.stderr
    over = zpe("submit", "-", stdin=h2("mock: fail=bad_input times=always")).stdout.strip()
    assert zpe("wait", over).returncode == 1
    assert "[input/bad_input]" in zpe("status", over).stdout
    refused = zpe("cancel", over)
    assert refused.returncode == 1
    assert "job_over" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "nothing"), "[input/job_not_found]"),
        (("submit", "nowhere.in"), "[input/file_missing]"),
        (("submit", "-", "--mobile", "0;1"), "[input/bad_mobile_indices]"),
        (("submit", "-", "--mobile", "0-9"), "[input/bad_mobile_indices]"),
        (("submit", "-", "--mobile", "0,5-3"), "the range 5-3 runs backwards"),
        (("submit", "-", "--delta", "-1"), "delta"),
        (("submit", "-", "--delta", "9"), "[input/bad_request]"),
        (("admin", "leases"), "[auth/"),
        (("admin", "requeue"), "[input/bad_choice]"),
        (("--url", "http://zpe.example.org", "jobs"), "[config/insecure_url]"),
    ],
)
def test_an_error_is_one_line(zpe: Run, arguments: tuple[str, ...], said: str) -> None:
    done = zpe(*arguments, stdin=h2())
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("zpe: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_an_error_of_a_process_is_one_line_too(settings: dict[str, object]) -> None:
    done = run_zpe("status", "nothing", **settings)
    assert done.returncode == 1
    assert done.stderr.startswith("zpe: ")
    assert done.stderr.endswith("[input/job_not_found]\n")
    assert done.stderr.count("\n") == 1


def test_an_address_copied_from_the_dashboard_will_do(zpe: Run, plane: ControlPlane) -> None:
    done = zpe("--url", f"{plane.url}/dashboard/jobs", "jobs", "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


def test_no_token_and_nobody_there(zpe: Run) -> None:
    assert "[auth/token_missing]" in zpe("jobs", ZPE_TOKEN="").stderr
    away = zpe("jobs", ZPE_CONTROL_API_URL="http://127.0.0.1:9", ZPE_RETRY_SECONDS="0.1")
    assert away.returncode == 1
    assert "[config/control_plane_unreachable]" in away.stderr


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("submit",), ("result", "x", "--csv", "--json"), ("submit", "x", "--fmax", "0.01")],
)
def test_a_wrong_command_line_has_status_2(zpe: Run, arguments: tuple[str, ...]) -> None:
    assert zpe(*arguments).returncode == 2


def test_login_keeps_the_token_and_never_shows_it(
    zpe: Run, plane: ControlPlane, token: str, tmp_path: Path
) -> None:
    done = zpe("login", plane.url, stdin=f"{token}\n", ZPE_CONTROL_API_URL="", ZPE_TOKEN="")
    assert done.returncode == 0
    kept = tmp_path / "zpe" / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert zpe("jobs", ZPE_CONTROL_API_URL="", ZPE_TOKEN="").returncode == 0

    before = kept.read_text()
    wrong = zpe("login", plane.url, stdin="zpe_api_wrong0123456789abcdef\n")
    assert wrong.returncode == 1
    assert "[auth/" in wrong.stderr
    assert kept.read_text() == before
    for text in (done.stdout, done.stderr, wrong.stderr):
        assert token not in text
        assert "wrong0123456789" not in text


def test_a_typed_token_is_not_echoed(plane: ControlPlane, token: str, tmp_path: Path) -> None:
    keyboard, terminal = pty.openpty()
    with Process(
        [ZPE, "login", plane.url],
        env=environment(XDG_CONFIG_HOME=tmp_path),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        seen = b""
        while b"Token" not in seen:
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
    assert b"Logged in" in seen


def test_what_an_administrator_does(zpe: Run, plane: ControlPlane, tmp_path: Path) -> None:
    def admin(*arguments: str) -> str:
        done = zpe("admin", *arguments, ZPE_TOKEN=plane.admin_token)
        assert done.returncode == 0, done.stderr
        return done.stdout

    enroll = json.loads(admin("enroll-token", "--label", "lab-pc", "--ttl", "60", "--json"))
    assert enroll["ttl_seconds"] == 60
    assert admin("enroll-token").strip()
    assert "lab-pc" in admin("enroll-tokens")
    kept = tmp_path / "grace.token"
    assert admin("token", "grace", "-o", str(kept)) == ""
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    researcher = kept.read_text().strip()
    assert zpe("jobs", ZPE_TOKEN=researcher).returncode == 0
    assert "grace" in admin("tokens")
    wait_until(lambda: json.loads(admin("workers", "--json"))["workers"])  # it is on its way
    worker = json.loads(admin("workers", "--json"))["workers"][0]
    assert worker["server_id"] in admin("workers")
    assert "draining" in admin("drain", worker["server_id"])
    assert json.loads(admin("drain", worker["server_id"], "--json")) == [{"ok": True}]
    assert "draining" in admin("workers")
    admin("drain", worker["server_id"], "--off")
    assert "LEASE" in admin("leases")

    job = zpe("submit", "-", stdin=h2("mock: fail=bad_input times=always")).stdout.strip()
    zpe("wait", job)
    assert job in admin("dlq", "--code", "bad_input")
    assert job in admin("requeue", "--code", "bad_input", "--dry-run").split()
    assert admin("discard", job, "--dry-run") == f"{job}\n"
    assert zpe("status", job).stdout.count("failed")
    assert admin("requeue", job) == "1 requeued\n"
    zpe("wait", job)
    assert "1 discarded" in admin("discard", job)

    assert "off" in admin("flags", "--no-submission")
    assert "[config/submission_disabled]" in zpe("submit", "-", stdin=h2()).stderr
    assert "off" not in admin("flags", "--submission")
    spare = str(plane.register(name="spare")["server_id"])
    assert "revoked" in admin("revoke", "--worker", spare, "--and-its-results")
    assert "PSEUDOPOTENTIALS" in admin("scfs")
    assert admin("scfs", "--worker", spare, "--drop").strip() == "0 dropped"
    assert json.loads(admin("scfs", "--worker", spare, "--drop", "--json")) == {"dropped": 0}
    assert json.loads(admin("group", "surfaces", "--add", "grace", "--json"))["members"] == ["grace"]
    assert spare in admin("audit")


# These run until they are ended, or ask for a token.
WITHOUT_JSON = {"demo", "embedded", "login", "serve", "dashboard", "rq-worker"}


def test_every_command_that_shows_something_prints_json_if_asked(zpe: Run) -> None:
    groups = {
        name: get_command(group.app).commands
        for name, group in {"admin": admin, "workers": workers, "worker": worker}.items()
    }
    names = get_command(app).list_commands(click.Context(get_command(app)))
    found = [(name,) for name in names if name not in WITHOUT_JSON | set(groups)]
    found += [(group, name) for group, commands in groups.items() for name in commands]
    some = {("jobs",), ("doctor",), ("admin", "drain"), ("workers", "select"), ("worker", "status")}
    assert some <= set(found)
    lacking = [names for names in found if "--json" not in zpe(*names, "--help").stdout]
    assert lacking == []


def test_a_researcher_manages_a_worker_of_their_own(
    zpe: Run, own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plane = own_control_plane(ZPE_USER_WORKERS="group")
    tokens = {owner: plane.researcher_token(owner) for owner in ("ann", "bob")} | {"admin": plane.admin_token}

    def run(who: str, *arguments: str, code: int = 0) -> str:
        done = zpe(*arguments, ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=tokens[who])
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    def listed(who: str = "ann") -> list[dict[str, object]]:
        return list(json.loads(run(who, "workers", "--json"))["targets"])

    assert "[auth/accepts_too_wide]" in run("ann", "workers", "enroll-token", "--accepts", "all", code=1)
    kept = tmp_path / "token"
    minted = zpe(
        *("workers", "enroll-token", "--accepts", "group", "--ttl", "60", "-o", str(kept)),
        ZPE_CONTROL_API_URL=plane.url,
        ZPE_TOKEN=tokens["ann"],
    )
    assert minted.stdout == ""
    assert "good for one worker of ann that accepts group" in minted.stderr
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    plane.worker("anns-pc", ZPE_ENROLL_TOKEN=kept.read_text().strip())
    wait_until(lambda: [worker["engine"] for worker in listed()] == ["mock"])
    [worker] = listed()
    node = str(worker["target_id"])
    [line] = [line for line in run("ann", "workers").splitlines() if node in line]
    assert line.split()[1:6] == ["anns-pc", "you", "group", "alive", "mock"]

    assert listed("bob") == []
    assert run("admin", "admin", "group", "surfaces", "--add", "ann", "--add", "bob") == "ann, bob\n"
    assert [(w["owner"], w["mine"]) for w in listed("bob")] == [("ann", False)]
    assert "*" not in run("bob", "workers")  # bob has selected nothing
    for act in (("drain",), ("accept", "group"), ("revoke",)):
        refused = run("bob", "workers", act[0], node, *act[1:], code=1)
        assert "[input/worker_not_found]" in refused
    assert run("ann", "workers", "accept", node, "own") == "accepts own\n"
    assert listed("bob") == []
    assert run("ann", "workers", "drain", node) == "draining\n"
    assert "draining" in run("ann", "workers")
    assert run("ann", "workers", "drain", node, "--off") == "works again\n"

    assert "[input/unknown_target]" in run("ann", "workers", "select", "nowhere", code=1)
    for target, shown in (("mine", "mine"), ("anns-pc", node), ("any", "any")):
        assert run("ann", "workers", "select", target) == f"{shown}\n"
        [line] = [line for line in run("ann", "workers").splitlines() if node in line]
        assert line.rstrip().endswith("*") == (target != "any")
    (tmp_path / "h2.in").write_text(h2())
    refused = run("bob", "submit", str(tmp_path / "h2.in"), "--where", "anns-pc", code=1)
    assert "[input/unknown_target]" in refused
    assert run("ann", "workers", "revoke", node) == "revoked\n"
    assert listed() == []


def test_many_jobs_are_looked_at_before_they_are_cancelled(zpe: Run) -> None:
    of_pw = ("--engine", "espresso", "--project", "mistake")
    jobs = [zpe("submit", "-", *of_pw, stdin=h2()).stdout.strip() for _ in range(2)]
    chosen = ("cancel", "--project", "mistake", "--state", "queued")
    assert set(zpe(*chosen, "--dry-run").stdout.split()) == set(jobs)
    assert json.loads(zpe("status", jobs[0], "--json").stdout)["status"] == "queued"
    assert zpe(*chosen).stdout == "2 cancelled\n"
    assert json.loads(zpe("status", jobs[0], "--json").stdout)["status"] == "cancelled"
    assert json.loads(zpe(*chosen, "--json").stdout) == {"jobs": [], "total": 0}
    assert "[input/bad_selection]" in zpe("cancel").stderr
    assert "[input/bad_choice]" in zpe("cancel", jobs[0], "--project", "mistake").stderr
    others = [zpe("submit", "-", *of_pw, stdin=h2()).stdout.strip() for _ in range(2)]
    assert zpe("cancel", *others).stdout == "cancelled\ncancelled\n"


def test_who_one_is_and_what_one_may_have(zpe: Run, plane: ControlPlane) -> None:
    def admin(*arguments: str) -> str:
        done = zpe("admin", *arguments, ZPE_TOKEN=plane.admin_token)
        assert done.returncode == 0, done.stderr
        return done.stdout

    hopper = plane.researcher_token("hopper")

    def whoami(*options: str) -> dict[str, str]:
        done = zpe("whoami", *options, ZPE_TOKEN=hopper)
        assert done.returncode == 0, done.stderr
        if "--json" in options:
            return dict(json.loads(done.stdout))
        rows = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
        return {cells[0]: cells[-1] for cells in rows}

    me = whoami()
    assert (me["name"], me["role"], me["groups see your jobs"]) == ("hopper", "researcher", "no")
    assert (me["jobs queued or started"], me["highest priority among all"]) == ("0", "0")
    assert whoami("--show-jobs")["groups see your jobs"] == "yes"
    assert whoami("--hide-jobs", "--json")["shows_jobs"] is False

    assert admin("group", "compilers", "--add", "hopper", "--add", "ada") == "ada, hopper\n"
    assert "compilers" in admin("groups")
    groups = json.loads(admin("groups", "--json"))["groups"]
    assert {"name": "compilers", "members": ["ada", "hopper"]} in groups
    shown = admin("limits", "hopper", "--jobs", "3", "--priority", "7")
    assert "0 of 3" in shown
    assert "compilers" in shown
    me = whoami()
    assert (me["groups"], me["jobs queued or started"]) == ("compilers", "0 of 3")
    assert me["highest priority among all"] == "7"
    [line] = [line for line in admin("owners").splitlines() if line.startswith("hopper")]
    assert "0 of 3" in line
    owners = {one["name"]: one for one in json.loads(admin("owners", "--json"))["owners"]}
    assert owners["hopper"]["own_limits"] == {"priority": 7, "jobs": 3, "scfs": None, "bytes": None}
    assert "0 of 3" in admin("limits", "hopper")
    assert "90" in admin("retention", "hopper", "screening", "--days", "90")
    assert "screening" in admin("retention")
    admin("retention", "hopper", "screening", "--usual")
    admin("limits", "hopper", "--usual")
    assert whoami()["jobs queued or started"] == "0"
    assert admin("group", "compilers", "--remove", "hopper", "--remove", "ada") == "nobody is left\n"
    assert "compilers" not in admin("groups")


def test_names_cannot_command_the_terminal(zpe: Run) -> None:
    job = zpe("submit", "-", "--name", "a\x1b[31mb [bold]c", stdin=h2()).stdout.strip()
    for shown in (zpe("status", job).stdout, zpe("jobs").stdout):
        assert "\x1b" not in shown
        assert "[bold]c" in shown
    zpe("wait", job)


def test_help_and_version(zpe: Run) -> None:
    assert zpe("--version").stdout.startswith("zpe 0.")
    shown = zpe("--help").stdout
    for command in (
        "submit",
        "status",
        "wait",
        "result",
        "cancel",
        "login",
        "worker",
        "admin",
        "relax",
        "energy",
        "jobs",
        "update",
        "plan",
        "workers",
        "pseudopotentials",
    ):
        assert command in shown
    assert "serve" in shown
    for command in (
        "plan",
        "pseudopotentials",
        "submit",
        "status",
        "jobs",
        "update",
        "wait",
        "result",
        "cancel",
        "login",
        "relax",
        "energy",
    ):
        assert f"Example: zpe {command}" in zpe(command, "--help").stdout


def test_the_reader_of_a_pipe_may_leave(settings: dict[str, object]) -> None:
    with subprocess.Popen(
        [ZPE, "jobs", "--json"], env=environment(**settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait()
        assert process.stderr is not None
        assert process.stderr.read() == b""
