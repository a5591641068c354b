"""The notebooks run from top to bottom, on a real control plane with a worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.processes import ControlPlane, environment

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PSEUDO_DIR = "/usr/share/espresso/pseudo"
# The others would do as well with pw.x; they take long.
QE = {"01_quickstart", "03_isotopes", "07_adsorption_free_energy", "08_infrared_spectrum"}


@pytest.fixture(scope="module")
def mock_plane(control_plane: ControlPlane) -> ControlPlane:
    """A control plane whose worker has the mock engine."""
    control_plane.worker()
    return control_plane


@pytest.fixture(scope="module")
def qe_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose worker runs pw.x."""
    plane = ControlPlane(tmp_path_factory.mktemp("qe-plane"), {"ZPE_DEFAULT_ENGINE": "espresso"})
    plane.start()
    plane.worker(ZPE_WORKER_MODE="qe", ZPE_PSEUDO_DIR=PSEUDO_DIR)
    yield plane
    plane.stop()


@pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(path, marks=[pytest.mark.qe] if path.stem in QE else [], id=path.stem)
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    ],
)
def test_a_notebook_runs(notebook: Path, request: pytest.FixtureRequest) -> None:
    plane: ControlPlane = request.getfixturevalue("qe_plane" if notebook.stem in QE else "mock_plane")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q"),
            *("-p", "no:cacheprovider", "--nbval-cell-timeout", "900", str(notebook)),
        ],
        env=environment(
            ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=plane.admin_token, ZPE_PSEUDO_DIR=PSEUDO_DIR
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    others = [process.account for process in (plane.process, *plane.workers) if process]
    assert run.returncode == 0, "\n".join([run.stdout, run.stderr, *others])


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_outputs_are_kept_and_hold_no_secret_and_no_error(notebook: Path) -> None:
    read = nbformat.read(notebook, as_version=4)
    assert any(cell.get("outputs") for cell in read.cells)
    assert not [o for cell in read.cells for o in cell.get("outputs", []) if o["output_type"] == "error"]
    text = notebook.read_text()
    for secret in ("zpe_api_", "zpea_", "zpee_", "zpew_"):
        assert secret not in text, secret
    assert "Try next" in read.cells[-1].source
