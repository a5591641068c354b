"""One SCF brought to convergence: from what other SCFs of the job have left, then from scratch and gently."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import structlog

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso import environ, patch
from zpe_sdk.espresso.dipole import run_dipole
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.espresso.recipe import Near, Recipe
from zpe_sdk.espresso.run import kpoints_of, run_scf
from zpe_sdk.wire import Task
from zpe_sdk.worker.engines import OnIteration
from zpe_sdk.worker.engines.machine import Place
from zpe_sdk.worker.engines.medium import Medium
from zpe_sdk.worker.engines.starts import keep, prepare, settings, wants_kpoints

PREFIX = "pw"
GENTLE_MIXING_BETA = 0.3

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Converging:
    """How the SCFs of a job are run on a machine.

    Attributes
    ----------
    pw_input
        The job's input.
    job, pseudo_dir
        Folders: of the job, and of the pseudopotential files.
    medium
        What surrounds the structure, if anything does.
    place
        Cores and command.
    alone
        The command that runs pw.x on one core.
    max_seconds
        How long an SCF may take.
    stop, on_iteration
        See :class:`zpe_sdk.worker.engines.Engine`.
    """

    pw_input: PwInput
    job: Path
    pseudo_dir: Path
    medium: Medium | None
    place: Place
    alone: Sequence[str]
    max_seconds: float | None
    stop: Event
    on_iteration: OnIteration | None

    def run(self, task: Task) -> ScfResult:
        """Run an SCF; if it does not converge, once more from scratch and with gentler mixing.

        Raises
        ------
        ComputeError
            ``scf_not_converged``, ``stopped``, and whatever else pw.x may fail with.
        """
        folder = self.job / str(task.index)
        save = folder / f"{PREFIX}.save"
        how = settings(self.job, self.pw_input)
        try:
            result = self._converged(task, folder, save, how)
            # Environ's charges answer to the molecule's, and are not in its density.
            if self.medium is None:
                result = replace(result, dipole_e_ang=_dipole(self.pw_input, task, save, result))
            try:
                keep(self.job, task, save, how)
            except OSError as error:  # a full disk: what was computed counts all the same
                log.warning("the density could not be kept for other SCFs", reason=str(error))
            return result
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _converged(self, task: Task, folder: Path, save: Path, how: Recipe) -> ScfResult:
        _empty(folder)
        points = None
        if wants_kpoints(self.job, task, self.pw_input, how):
            points = kpoints_of(self.alone, self._text(task, save, how, rehearsal=True), folder)
            _empty(folder)
        near = prepare(self.job, task, save, self.pw_input, self.pseudo_dir, points, how)
        try:
            return self._scf(folder, self._text(task, save, how, near), near)
        except ComputeError as error:
            if error.code != "scf_not_converged" and (near is Near.SCRATCH or error.code != "pw_crashed"):
                raise
            log.warning("SCF is tried again with gentler mixing", task=task.index, reason=error.message)
            _empty(folder)
            # Near enough is better than nothing.
            gentle = {**gentle_mixing(self.pw_input), "scf_must_converge": False}
            result = self._scf(folder, self._text(task, save, how, gentle=gentle), Near.SCRATCH)
            if result.accuracy_ry is None or result.accuracy_ry > how.enough:
                raise
            return _missed(result, how.conv_thr)

    def _text(
        self,
        task: Task,
        save: Path,
        how: Recipe,
        near: Near = Near.SCRATCH,
        *,
        gentle: Mapping[str, object] | None = None,
        rehearsal: bool = False,
    ) -> str:
        """Return the input of the SCF, with what its folder holds to start from."""
        started = {"startingpot": "file"} if near is not Near.SCRATCH else {}
        if any(save.glob("wfc*")):
            started["startingwfc"] = "file"
        return patch.task_text(
            self.pw_input,
            task,
            prefix=PREFIX,
            outdir="./",
            pseudo_dir=str(self.pseudo_dir),
            electrons={**how.electrons(near), **started, **(gentle or {})},
            nosym=self.medium is not None and not self.medium.keeps_symmetry,
            rehearsal=rehearsal,
        )

    def _scf(self, folder: Path, text: str, near: Near) -> ScfResult:
        restart = near is not Near.SCRATCH
        return run_scf(
            self.place.command,
            text,
            folder,
            prefix=PREFIX,
            ranks=self.place.ranks,
            cpus=self.place.cpus,
            environ=environ.run_text(self.medium.text, restart=restart) if self.medium else None,
            stop=self.stop,
            max_seconds=self.max_seconds,
            on_iteration=self.on_iteration,
        )


def gentle_mixing(pw_input: PwInput) -> dict[str, object]:
    """Return how to mix densities where an SCF has not converged."""
    given = pw_input.namelists.get("electrons", {})
    return {
        "mixing_beta": min(GENTLE_MIXING_BETA, _number(given.get("mixing_beta"), 0.7) / 2),
        "electron_maxstep": 2 * max(100, int(_number(given.get("electron_maxstep"), 100))),
    }


def _dipole(
    pw_input: PwInput, task: Task, save: Path, result: ScfResult
) -> tuple[float, float, float] | None:
    """Return the dipole of the cell in e Å; None for crystals, or if the density cannot be read."""
    try:
        dipole = run_dipole(pw_input, task, save, result.valences)
    except ComputeError as error:
        log.warning("no dipole, and so no intensities", task=task.index, reason=error.message)
        return None
    return None if dipole is None else (float(dipole[0]), float(dipole[1]), float(dipole[2]))


def _missed(result: ScfResult, wanted: float) -> ScfResult:
    """Return a result with a warning, if its SCF has not come below the threshold (Ry) that was wanted."""
    if result.accuracy_ry is None or result.accuracy_ry <= wanted:
        return result
    warning = (
        f"the SCF came to an estimated {result.accuracy_ry:.1e} Ry and no further: below the input's "
        f"conv_thr, not below the {wanted:.1e} Ry that good forces take"
    )
    return replace(result, lacking_ry=result.accuracy_ry, warnings=(warning, *result.warnings))


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
