"""Settings of the control plane that cannot be: named at the start, in one line, without a secret."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.processes import PATIENCE, ZPE, environment


def start(command: list[str], **settings: object) -> str:
    """Start a command that must refuse to run; return what it says."""
    run = subprocess.run(
        [ZPE, *command],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode in (1, 2), run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    return run.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ZPE_REDIS_URL", "redis://:secret/secret@127.0.0.1:6379/0"),
        ("ZPE_REDIS_URL", "redis://:12/secret@127.0.0.1:6379/0"),
        ("ZPE_REDIS_URL", "redis://:secret@127.0.0.1:6379/0?unheard_of=1"),
        ("ZPE_REDIS_URL", "secret"),
        ("ZPE_S3_ENDPOINT", "https://somebody:secret@s3.example.org"),
        ("ZPE_S3_ENDPOINT", "secret"),
        ("ZPE_ADMIN_TOKEN", "secret secret secret secret"),
        ("ZPE_CORS_ORIGINS", "*"),
        ("ZPE_CORS_ORIGINS", "https://ui.example.org, https://secret@ui.example.org/path"),
        ("ZPE_TEMPERATURE", "inf"),
        ("ZPE_LOW_CUT_CM", "nan"),
        ("ZPE_DATA_DIR", "/proc/nowhere"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_not_shown(name: str, value: str, tmp_path: Path) -> None:
    said = start(["serve", "--port", "1"], **({"ZPE_DATA_DIR": tmp_path} | {name: value}))
    assert name in said
    assert "secret" not in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "options", [["--port", "99999"], ["--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"]]
)
def test_an_option_that_cannot_be_is_named(options: list[str]) -> None:
    assert options[0] in start(["serve", *options])


@pytest.mark.parametrize("command", [["serve"], ["dashboard", "--url", "http://127.0.0.1:1"]])
def test_a_log_level_that_is_none_is_named(command: list[str]) -> None:
    said = start([*command, "--port", "1"], ZPE_LOG_LEVEL="LOUD")
    assert "ZPE_LOG_LEVEL" in said
    assert "WARNING" in said


WITHOUT = """import sys
from importlib import metadata

sys.modules["{name}"] = None
found = metadata.distribution


def distribution(name):
    if name == "{name}":
        raise metadata.PackageNotFoundError(name)
    return found(name)


metadata.distribution = distribution
"""


@pytest.mark.parametrize(
    ("command", "lacking", "extra"),
    [
        (["serve"], "uvicorn", "zpe[server]"),
        (["dashboard"], "uvicorn", "zpe[dashboard]"),
        (["rq-worker"], "rq", "zpe[server,queue]"),
        (["doctor", "--server"], "redis", "zpe[server]"),
    ],
)
def test_a_command_says_which_extra_it_lacks_and_help_leaves_it_out(
    command: list[str], lacking: str, extra: str, tmp_path: Path
) -> None:
    # As it is where the package was never installed: neither it nor its metadata can be found.
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(name=lacking))
    assert extra in start(command, PYTHONPATH=tmp_path)
    run = subprocess.run(
        [ZPE, "--help"], env=environment(PYTHONPATH=tmp_path), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert f" {command[0]} " not in run.stdout or command[0] == "doctor"
    assert " worker " in run.stdout


@pytest.mark.parametrize(
    ("settings", "lacking", "extra"),
    [
        ({"ZPE_RESULT_STORE": "s3", "ZPE_S3_BUCKET": "b"}, "obstore", "zpe[s3]"),
        ({"ZPE_COMPUTE_MODE": "remote-queue", "ZPE_REDIS_URL": "redis://127.0.0.1:1"}, "rq", "zpe[queue]"),
    ],
)
def test_a_setting_says_which_extra_it_lacks(
    settings: dict[str, object], lacking: str, extra: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules['{lacking}'] = None\n")
    assert extra in start(["serve", "--data-dir", str(tmp_path)], PYTHONPATH=tmp_path, **settings)


def test_an_rq_worker_says_what_is_wrong_with_redis(tmp_path: Path) -> None:
    said = start(
        ["rq-worker"],
        ZPE_REDIS_URL="redis://:secret@127.0.0.1:1/0",
        ZPE_WORKER_MODE="mock",
        ZPE_WORK_DIR=tmp_path,
    )
    assert "ZPE_REDIS_URL" in said
    assert "secret" not in said
