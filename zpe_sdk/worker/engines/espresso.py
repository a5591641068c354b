"""The engine that runs pw.x."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import structlog

from zpe_sdk.errors import ComputeError, ConfigError, InputError, ZPEError
from zpe_sdk.espresso import environ, patch
from zpe_sdk.espresso.dipole import run_dipole
from zpe_sdk.espresso.fingerprint import (
    environ_mark,
    files_sha256,
    find_pseudopotential,
    fingerprint,
    sha256_of,
)
from zpe_sdk.espresso.gamma import gamma_warning
from zpe_sdk.espresso.input import PwInput, parse
from zpe_sdk.espresso.ionic_steps import IonicResult
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.espresso.pseudopotentials import headers
from zpe_sdk.espresso.recipe import Near, recipe
from zpe_sdk.espresso.run import kpoints_of, run_scf
from zpe_sdk.espresso.said import MAX_WARNINGS
from zpe_sdk.version import __version__
from zpe_sdk.wire import (
    Capabilities,
    Fingerprint,
    JobPayload,
    RelaxationState,
    RelaxOptions,
    Task,
    TaskReport,
)
from zpe_sdk.wire.messages import ID
from zpe_sdk.worker.engines import OnIteration, OnStep
from zpe_sdk.worker.engines.cores import available_memory_gb, memory_free_gb
from zpe_sdk.worker.engines.machine import Machine, Place
from zpe_sdk.worker.engines.memory import Memory
from zpe_sdk.worker.engines.relaxing import Relaxing, Surroundings, rows
from zpe_sdk.worker.engines.starts import (
    RELAXED,
    Running,
    keep,
    lacks_equilibrium,
    prepare,
    settings,
    wants_kpoints,
)
from zpe_sdk.worker.settings import WorkerSettings

PREFIX = "pw"
GENTLE_MIXING_BETA = 0.3

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Medium:
    """What Environ is to read, the hash by which its physics are known, and what symmetry it leaves."""

    text: str
    sha256: str
    keeps_symmetry: bool


class EspressoEngine:
    """Runs each task's SCF in ``WORK_DIR/jobs/<job>/<task>``, several side by side.

    Parameters
    ----------
    settings
        Where pw.x and the pseudopotentials are, and how many cores an SCF gets.
    cores
        How many of the machine's cores are for this process; default: all, and each SCF is pinned to its own.
    """

    name = "espresso"

    def __init__(self, settings: WorkerSettings, *, cores: int | None = None) -> None:
        self._settings = settings
        self._jobs = settings.work_dir / "jobs"
        shutil.rmtree(self._jobs, ignore_errors=True)  # of a worker that was killed
        self._machine = Machine(settings, cores=cores)
        self._running = Running()
        self._memory = Memory(1e9 * (settings.memory_gb or available_memory_gb()))
        self._without_environ = False  # pw.x has been found to lack the plug-in

    def capabilities(self) -> Capabilities:
        """Ask pw.x for its version and list the pseudopotentials that are there."""
        version = self._machine.version()
        pseudo_dir = self._settings.pseudo_dir
        if pseudo_dir is None or not pseudo_dir.is_dir():
            raise ConfigError(
                f"ZPE_PSEUDO_DIR must name the folder of the pseudopotential files; it is {pseudo_dir}",
                code="pseudo_dir_missing",
                field="ZPE_PSEUDO_DIR",
            )
        files = sorted(path for path in pseudo_dir.iterdir() if path.is_file())
        # An input may bring a folder of its own: what it holds, we cannot know yet.
        elsewhere = self._settings.allow_input_pseudo_dir
        plugin = self._has_plugin(files)
        default = self._default_environ() if plugin else None
        deciding = [*files, *self._machine.programs(), *([default] if default else [])]
        return Capabilities(
            engine=self.name,
            engine_version=version,
            zpe_version=__version__,
            pseudopotentials=None if elsewhere else [path.name for path in files],
            headers=headers(files),
            environ=default is not None,
            environ_input=plugin,
            relaxes=True,
            files_sha256=None if elsewhere else files_sha256(deciding),
            slots=self._machine.slots,
            cores=len(self._machine.cores),
            memory_gb=self._settings.memory_gb or available_memory_gb(),
            accepts=self._settings.accepts,
            tags=self._settings.tags,
        )

    def ranks(self, pw_input: PwInput) -> int:
        """Return how many MPI ranks an SCF of this input gets where there are others beside it."""
        return self._machine.ranks(pw_input)

    def slots_for(self, payload: JobPayload) -> tuple[int, int]:
        """See :class:`zpe_sdk.worker.engines.Engine`; a slot is a core, unless the settings say otherwise."""
        try:
            return self._machine.slots_for(parse(payload.content))
        except ZPEError:
            return 1, 1  # it will not get far, and its run says why

    def memory_free_gb(self) -> float | None:
        """Return the memory that is free; see :class:`zpe_sdk.worker.engines.Engine`."""
        return memory_free_gb()

    def ready(self, task: Task, *, job_id: str, running: Collection[Task]) -> bool:
        """See :class:`zpe_sdk.worker.engines.Engine`."""
        return not self._running.is_worth_waiting(self._job_folder(job_id), task, running)

    def run(
        self,
        payload: JobPayload,
        task: Task,
        *,
        job_id: str,
        stop: Event,
        slots: int | None = None,
        on_iteration: OnIteration | None = None,
    ) -> TaskReport:
        """Run one SCF; see :class:`zpe_sdk.worker.engines.Engine`."""
        with self._running.here(self._job_folder(job_id), task):
            return self._run(payload, task, job_id, stop, slots, on_iteration)

    def _run(
        self,
        payload: JobPayload,
        task: Task,
        job_id: str,
        stop: Event,
        slots: int | None,
        on_iteration: OnIteration | None,
    ) -> TaskReport:
        pw_input = parse(payload.content)
        pseudo_dir = self._pseudo_dir(pw_input)
        for species in pw_input.species:
            find_pseudopotential(species.pseudopotential, pseudo_dir)
        medium = self._medium(payload)
        result = None
        while result is None:
            result = self._attempt(pw_input, task, job_id, payload, medium, stop, slots, on_iteration)
        return TaskReport(
            task=task.index,
            energy_ev=result.energy_ev,
            forces_ev_ang=[(float(x), float(y), float(z)) for x, y, z in result.forces_ev_ang],
            fingerprint=fingerprint(
                pw_input,
                pseudo_dir,
                version=result.version,
                environ=environ_mark(str(result.environ), medium.sha256) if medium else None,
            ),
            scf_seconds=result.seconds,
            scf_iterations=result.iterations,
            pseudo_dir=str(pseudo_dir),
            dipole_e_ang=result.dipole_e_ang,
            total_magnetization=result.total_magnetization,
            absolute_magnetization=result.absolute_magnetization,
            lacking_ry=result.lacking_ry,
            warnings=_warnings(pw_input, result),
        )

    def _attempt(
        self,
        pw_input: PwInput,
        task: Task,
        job_id: str,
        payload: JobPayload,
        medium: Medium | None,
        stop: Event,
        slots: int | None,
        on_iteration: OnIteration | None,
    ) -> ScfResult | None:
        """Run one SCF when there are cores and memory; None if the memory was not enough for all that ran."""
        job, waits = self._job_folder(job_id), recipe(pw_input).waits
        limit = self._max_seconds(payload)

        def converge(task: Task) -> ScfResult:
            return self._converge(
                pw_input, task, job_id, medium, place, stop, limit=limit, on_iteration=on_iteration
            )

        self._running.await_sources(job, task, stop, equilibrium=waits)
        with self._memory.hold(job_id, stop):
            # Cores of those that wait, for the equilibrium or for memory, go to those that run.
            most = self._machine.slots
            if not waits or task.atom is not None:
                most = int(most // min(most, self._memory.side_by_side(job_id)))
            with (
                self._machine.take(pw_input, stop, slots=slots, most=most) as place,
                self._running.scf(job, task),
            ):
                try:
                    if lacks_equilibrium(job, task):
                        # It was computed elsewhere, or its density is gone.
                        converge(Task(index=0))
                    result = converge(task)
                except ConfigError as error:
                    self._without_environ |= error.code == "environ_missing"
                    raise
                except InputError as error:
                    raise _whose(error, payload) from None
                except ComputeError as error:
                    if error.code == "out_of_memory" and self._memory.was_too_little(job_id):
                        return None
                    raise self._whose_limit(error, limit) from error
                if result.memory_bytes:
                    self._memory.measured(job_id, result.memory_bytes, ranks=place.ranks)
                return result

    def relax(
        self,
        payload: JobPayload,
        state: RelaxationState,
        *,
        job_id: str,
        stop: Event,
        on_step: OnStep,
        slots: int | None = None,
        on_iteration: OnIteration | None = None,
    ) -> TaskReport:
        """Relax the structure with pw.x's BFGS; see :class:`zpe_sdk.worker.engines.Engine`."""
        pw_input = parse(payload.content)
        pseudo_dir = self._pseudo_dir(pw_input)
        for species in pw_input.species:
            find_pseudopotential(species.pseudopotential, pseudo_dir)
        medium = self._medium(payload)
        job = self._job_folder(job_id)

        def of_step(result: IonicResult) -> Fingerprint:
            mark = environ_mark(str(result.environ), medium.sha256) if medium else None
            return fingerprint(pw_input, pseudo_dir, version=result.version, environ=mark)

        limit = self._max_seconds(payload)
        # Nothing of the job can run beside it.
        slots = slots or self._machine.slots_for(pw_input)[1]
        with self._machine.take(pw_input, stop, slots=slots) as place:
            surroundings = Surroundings(
                place=place,
                version=self._machine.version(),
                folder=job / "relaxation",
                pseudo_dir=pseudo_dir,
                environ=medium.text if medium else None,
                nosym=medium is not None and not medium.keeps_symmetry,
                electrons=recipe(pw_input).mixing(Near.SCRATCH),
                gentle=_gentle(pw_input),
            )
            relaxing = Relaxing(
                pw_input,
                payload.relax or RelaxOptions(),
                state,
                surroundings,
                fingerprint=of_step,
                on_step=on_step,
                on_iteration=on_iteration,
                max_seconds=limit,
                prefix=PREFIX,
            )
            try:
                relaxed = relaxing.run(stop, keep_density=job / RELAXED)
            except ConfigError as error:
                self._without_environ |= error.code == "environ_missing"
                raise
            except InputError as error:
                raise _whose(error, payload) from None
            except ComputeError as error:
                raise self._whose_limit(error, limit) from error
        last = relaxed.last
        return TaskReport(
            task=0,
            energy_ev=last.energy_ev,
            forces_ev_ang=rows(last.forces_ev_ang),
            fingerprint=of_step(last),
            scf_seconds=last.seconds,
            scf_iterations=last.iterations,
            pseudo_dir=str(pseudo_dir),
            total_magnetization=last.total_magnetization,
            absolute_magnetization=last.absolute_magnetization,
            warnings=_warnings(pw_input, last),
            relaxation=relaxed.end,
        )

    def _max_seconds(self, payload: JobPayload) -> float | None:
        """Return how long an SCF may take at most: what the job says, or this worker."""
        limits = (payload.max_scf_seconds, self._settings.max_scf_seconds)
        return min((seconds for seconds in limits if seconds), default=None)

    def _whose_limit(self, error: ComputeError, limit: float | None) -> ZPEError:
        """Return an error with its side: other workers may be faster, or have more time than this one."""
        if error.code == "scf_too_slow" and limit == self._settings.max_scf_seconds:
            return ConfigError(error.message, code=error.code, field="ZPE_MAX_SCF_SECONDS")
        return error

    def forget(self, job_id: str) -> None:
        """Remove the job's folder."""
        self._running.forget(self._job_folder(job_id))
        self._memory.forget(job_id)
        shutil.rmtree(self._job_folder(job_id), ignore_errors=True)

    # ------------------------------------------------------------------------------------- one SCF

    def _converge(
        self,
        pw_input: PwInput,
        task: Task,
        job_id: str,
        medium: Medium | None,
        place: Place,
        stop: Event,
        *,
        limit: float | None,
        on_iteration: OnIteration | None,
    ) -> ScfResult:
        """Run the SCF; if it does not converge, once more from scratch and with gentler mixing."""
        job, pseudo_dir = self._job_folder(job_id), self._pseudo_dir(pw_input)
        folder = job / str(task.index)
        save = folder / f"{PREFIX}.save"

        how = settings(job, pw_input)

        def scf_input(near: Near, gentle: Mapping[str, object], *, rehearsal: bool = False) -> str:
            started = {"startingpot": "file"} if near is not Near.SCRATCH else {}
            if any(save.glob("wfc*")):
                started["startingwfc"] = "file"
            return patch.task_text(
                pw_input,
                task,
                prefix=PREFIX,
                outdir="./",
                pseudo_dir=str(pseudo_dir),
                electrons={**how.electrons(near), **started, **gentle},
                nosym=medium is not None and not medium.keeps_symmetry,
                rehearsal=rehearsal,
            )

        def scf(near: Near, **gentle: object) -> ScfResult:
            text = scf_input(near, gentle)
            return run_scf(
                place.command,
                text,
                folder,
                prefix=PREFIX,
                ranks=place.ranks,
                cpus=place.cpus,
                environ=environ.run_text(medium.text, restart=near is not Near.SCRATCH) if medium else None,
                stop=stop,
                max_seconds=limit,
                on_iteration=on_iteration,
            )

        try:
            _empty(folder)
            points = None
            if wants_kpoints(job, task, pw_input, how):
                points = kpoints_of(
                    self._machine.command(1), scf_input(Near.SCRATCH, {}, rehearsal=True), folder
                )
                _empty(folder)
            near = prepare(job, task, save, pw_input, pseudo_dir, points, how)
            try:
                result = scf(near)
            except ComputeError as error:
                if error.code != "scf_not_converged" and (near is Near.SCRATCH or error.code != "pw_crashed"):
                    raise
                log.warning("SCF is tried again with gentler mixing", task=task.index, reason=error.message)
                _empty(folder)
                # Near enough is better than nothing.
                result = scf(Near.SCRATCH, **_gentle(pw_input), scf_must_converge=False)
                if result.accuracy_ry is None or result.accuracy_ry > how.enough:
                    raise
                result = _missed(result, how.conv_thr)
            # Environ's charges answer to the molecule's, and are not in its density.
            if medium is None:
                result = replace(result, dipole_e_ang=_dipole(pw_input, task, save, result))
            try:
                keep(job, task, save, how)
            except OSError as error:  # a full disk: what was computed counts all the same
                log.warning("the density could not be kept for other SCFs", reason=str(error))
            return result
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # -------------------------------------------------------------------------------- this machine

    def _pseudo_dir(self, pw_input: PwInput) -> Path:
        own = pw_input.namelists.get("control", {}).get("pseudo_dir")
        if self._settings.allow_input_pseudo_dir and isinstance(own, str) and own.strip():
            return Path(own.strip()).expanduser().resolve()
        if self._settings.pseudo_dir is None:
            raise ConfigError(
                "ZPE_PSEUDO_DIR must name the folder of the pseudopotential files",
                code="pseudo_dir_missing",
                field="ZPE_PSEUDO_DIR",
            )
        return self._settings.pseudo_dir.resolve()

    def _medium(self, payload: JobPayload) -> Medium | None:
        """Return what Environ is to read for a job: what came with it, or else this machine's own file."""
        if not payload.use_environ:
            return None
        if payload.environ is not None:
            given = environ.parse(payload.environ)
            return Medium(given.text, given.physics_hash(), given.keeps_symmetry)
        path = self._default_environ()
        if path is None:
            raise ConfigError(
                "the job wants Environ and brings no input for it, and there is no environ.in at "
                f"ZPE_ENVIRON_PATH ({self._settings.environ_path or 'not set'})",
                code="environ_missing",
                field="ZPE_ENVIRON_PATH",
            )
        # Of such a file nothing was known when the job was planned: no symmetry was used there either.
        return Medium(path.read_text(errors="replace"), sha256_of(path), keeps_symmetry=False)

    def _default_environ(self) -> Path | None:
        """Return this machine's ``environ.in``, if it has one."""
        path = self._settings.environ_path
        if path is not None and path.is_dir():
            path = path / "environ.in"
        return path if path is not None and path.is_file() else None

    def _has_plugin(self, pseudopotentials: Sequence[Path]) -> bool:
        """Tell whether pw.x has Environ; to ask takes a pseudopotential, and a small one is read soonest."""
        files = [path for path in pseudopotentials if path.suffix.lower() == ".upf"]
        smallest = min(files, key=lambda path: (path.stat().st_size, path.name), default=None)
        return bool(smallest and not self._without_environ and self._machine.has_environ(smallest))

    def _job_folder(self, job_id: str) -> Path:
        if not re.fullmatch(ID, job_id):
            raise InputError(f"{job_id!r} cannot be a job's id", code="bad_job_id", field="job_id")
        return self._jobs / job_id


def _whose(error: InputError, payload: JobPayload) -> ZPEError:
    """Return an error with the side whose input it is about: Environ's may be this machine's own."""
    if error.field != "environ" or payload.environ is not None:
        return error
    return ConfigError(
        f"this machine's environ.in is of no use: {error.message}",
        code="environ_unusable",
        field="ZPE_ENVIRON_PATH",
    )


def _gentle(pw_input: PwInput) -> dict[str, object]:
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


def _warnings(pw_input: PwInput, result: ScfResult | IonicResult) -> list[str]:
    """Return what is to be said of a result: that pw.x is known to be wrong here, and its own warnings."""
    known = gamma_warning(pw_input, result.version)
    return [*([known] if known else []), *result.warnings][:MAX_WARNINGS]


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
