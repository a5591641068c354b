"""What a start does without. A module that is not imported costs nothing; ``benchmarks.startup`` measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE, environment

ZPE = "import sys; from zpe_sdk.cli import main; sys.argv[1:] = {}; main()"
SERVERS = {"bokeh", "fastapi", "panel", "redis", "uvicorn", "zpe_server", "zpe_dashboard"}
PHYSICS = {"ase", "numpy", "scipy", "spglib", "zpe_sdk.result", "zpe_sdk.vibrations"}
TRACING = {"opentelemetry.sdk.trace", "opentelemetry.exporter", "zpe_sdk.collector"}
OTHERS = {"zpe_sdk.wire.admin", "zpe_sdk.wire.compute", "zpe_sdk.worker"}


def imported(code: str, folder: Path) -> tuple[set[str], str]:
    """Run code in a new process, logged in nowhere; return the names of all modules, and what it says."""
    names = folder / "modules"
    write = f"open({str(names)!r}, 'w').write(' '.join(sys.modules))"
    at_exit = f"import atexit, sys; atexit.register(lambda: {write})"
    done = subprocess.run(
        [sys.executable, "-c", f"{at_exit}\n{code}"],
        env=environment(XDG_CONFIG_HOME=folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return set(names.read_text().split()), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("code", "has", "lacks", "says"),
    [
        (
            "from zpe_sdk import ZPEClient",
            "zpe_sdk.client.blocking_client",
            SERVERS | PHYSICS | OTHERS | {"rich", "tenacity", "tqdm"},
            "",
        ),
        (
            ZPE.format(["--help"]),
            "zpe_sdk.cli.main",
            SERVERS | PHYSICS | OTHERS | {"httpx", "pydantic", "tenacity", "tqdm", "zpe_sdk.client"},
            "Run the control plane",
        ),
        (
            ZPE.format(["jobs"]),
            "zpe_sdk.client.blocking_client",
            SERVERS | PHYSICS | OTHERS | {"rich", "tqdm"},
            "zpe: ",
        ),
        (
            "import zpe_sdk.result.kinds",
            "zpe_sdk.result.result",
            SERVERS | {"ase.io", "matplotlib", "scipy", "spglib"},
            "",
        ),
        (
            "import zpe_server.factory",
            "zpe_server.app",
            {"bokeh", "panel", "scipy", "spglib", "tqdm", "zpe_sdk.result", "zpe_dashboard"} | TRACING,
            "",
        ),
        (
            "import zpe_sdk.worker.loop",
            "zpe_sdk.worker.loop",
            SERVERS | {"scipy", "tqdm", "typer"} | TRACING | {"opentelemetry"},
            "",
        ),
        (
            "from zpe_sdk.traces import Traces; print(Traces('zpe-worker', 'lab-pc-3').on)",
            "zpe_sdk.traces",
            SERVERS | PHYSICS | OTHERS | TRACING | {"opentelemetry"},
            "False",
        ),
    ],
    ids=["client", "help", "jobs", "result", "serve", "worker", "traces"],
)
def test_a_start_imports_only_what_it_needs(
    code: str, has: str, lacks: set[str], says: str, tmp_path: Path
) -> None:
    modules, said = imported(code, tmp_path)
    assert has in modules
    assert says in said
    assert "Traceback" not in said
    assert lacks & modules == set()


def test_what_is_imported_late_is_there_under_its_name() -> None:
    import zpe_sdk
    from zpe_sdk import wire

    for package in (zpe_sdk, wire):
        for name in package.__all__:
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError, match="no attribute 'NoSuchThing'"):
            _ = package.NoSuchThing
