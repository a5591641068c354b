"""Which libraries pw.x runs on: those of Debian, chosen as the loader chooses them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from zpe_sdk.espresso.libraries import REFERENCE, blas_of, links_hdf5

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")


@pytest.mark.qe
@pytest.mark.parametrize(
    ("folders", "name"),
    [(["blas", "lapack"], REFERENCE), (["openblas-serial"], "OpenBLAS"), (["openblas-pthread"], "OpenBLAS")],
)
def test_the_blas_that_the_loader_finds_for_pw_x(
    folders: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [LIBRARIES / folder for folder in folders]
    if not all(path.is_dir() for path in paths):
        pytest.skip(f"Debian's {' and '.join(folders)} are not installed here")
    monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(map(str, paths)))
    program = shutil.which("pw.x")
    assert program is not None
    assert blas_of(Path(program)) == name
    assert not links_hdf5(Path(program))


def test_of_a_script_or_a_program_without_linear_algebra_nothing_is_said(tmp_path: Path) -> None:
    script = tmp_path / "pw.x"
    script.write_text("#!/bin/sh\nexec true\n")
    script.chmod(0o755)
    assert blas_of(script) is None
    assert blas_of(Path("/bin/sh")) is None
    assert blas_of(tmp_path / "nowhere") is None
