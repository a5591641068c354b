"""Two versions of pw.x side by side: what the one does not know, the other computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.processes import ControlPlane, h2, wait_until
from tests.programs import PW, PW_VERSION, SECOND, needs_second
from zpe_sdk.espresso import patch
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.wire import Task
from zpe_sdk.wire.versions import fits

PSEUDO_DIR = "/usr/share/espresso/pseudo"
pytestmark = [
    pytest.mark.qe,
    needs_second,
    pytest.mark.skipif(not fits(PW_VERSION, "<7.1"), reason="both versions know the card HUBBARD"),
]
O2 = """&SYSTEM
  ibrav = 1, A = 5.0, nat = 2, ntyp = 1, ecutwfc = 20, ecutrho = 160
  nspin = 2, tot_magnetization = 2 {system}
/
ATOMIC_SPECIES
O 15.999 O.pbe-rrkjus.UPF
ATOMIC_POSITIONS angstrom
O 0 0 0
O 0 0 1.22
K_POINTS gamma
{cards}
"""
KEYS = ", lda_plus_u = .true., Hubbard_U(1) = 6.0"
CARD = "HUBBARD (atomic)\nU O-2p 6.0"


def run(program: list[str], folder: Path, *, system: str = "", cards: str = "") -> ScfResult:
    folder.mkdir()
    text = patch.task_text(
        PwInput.parse(O2.format(system=system, cards=cards)),
        Task(index=0),
        prefix="pw",
        outdir="./",
        pseudo_dir=PSEUDO_DIR,
        electrons={"conv_thr": 1e-9},
    )
    return run_scf(program, text, folder, prefix="pw")


def test_a_u_by_card_is_the_u_by_keys_of_an_older_version(tmp_path: Path) -> None:
    by_card = run([str(SECOND)], tmp_path / "card", cards=CARD)
    by_keys = run(PW, tmp_path / "keys", system=KEYS)
    np.testing.assert_allclose(by_card.forces_ev_ang, by_keys.forces_ev_ang, atol=5e-3)
    # The bond that is too short with U is too long without.
    without = run(PW, tmp_path / "without")
    assert by_card.forces_ev_ang[0, 2] > 0.5
    assert without.forces_ev_ang[0, 2] < -0.5


def test_a_job_with_the_card_hubbard_goes_to_the_version_that_knows_it(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    settings = {"ZPE_WORKER_MODE": "qe", "ZPE_PSEUDO_DIR": PSEUDO_DIR, "ZPE_USE_MPI": "false"}
    plane.worker("old", ZPE_PW_PATH=PW[0], **settings)
    with plane.api() as api:
        content = h2().replace("A = 6.0", "A = 5.0") + "HUBBARD (atomic)\nU H-1s 1.0\n"
        job = api.post("/calc/zpe/jobs", json={"content": content, "engine": "espresso"}).json()["job_id"]

        def status() -> dict[str, object]:
            return dict(api.get(f"/calc/zpe/jobs/{job}").json())

        needs = "needs pw.x 7.1 or newer for the card HUBBARD"
        wait_until(lambda: status()["detail"] == f"{needs}; the worker here has {PW_VERSION}")
        plane.worker("new", ZPE_PW_PATH=SECOND, **settings)
        wait_until(lambda: status()["status"] == "finished")
        assert status()["workers"] == ["new"]
        fingerprint = api.get(f"/calc/zpe/jobs/{job}/detail").json()["fingerprint"]
        assert fingerprint["engine_version"] == "7.2"
