"""The engine that runs pw.x."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path
from threading import Event

from zpe_sdk.errors import ComputeError, ConfigError, InputError, ZPEError
from zpe_sdk.espresso.fingerprint import (
    environ_mark,
    files_sha256,
    find_pseudopotential,
    fingerprint,
)
from zpe_sdk.espresso.gamma import gamma_warning
from zpe_sdk.espresso.input import PwInput, parse
from zpe_sdk.espresso.ionic_steps import IonicResult
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.espresso.pseudopotentials import headers
from zpe_sdk.espresso.recipe import Near, recipe
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
from zpe_sdk.worker.engines.converging import PREFIX, Converging, gentle_mixing
from zpe_sdk.worker.engines.cores import available_memory_gb, memory_free_gb
from zpe_sdk.worker.engines.machine import Machine
from zpe_sdk.worker.engines.medium import Media, Medium, whose
from zpe_sdk.worker.engines.memory import Memory
from zpe_sdk.worker.engines.relaxing import Relaxing, Surroundings, rows
from zpe_sdk.worker.engines.starts import (
    RELAXED,
    Running,
    lacks_equilibrium,
)
from zpe_sdk.worker.settings import WorkerSettings


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
        self._media = Media(settings.environ_path, self._machine)

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
        plugin = self._media.has_plugin(files)
        default = self._media.default() if plugin else None
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
        medium = self._media.of(payload)
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
                converging = Converging(
                    pw_input=pw_input,
                    job=job,
                    pseudo_dir=self._pseudo_dir(pw_input),
                    medium=medium,
                    place=place,
                    alone=self._machine.command(1),
                    max_seconds=limit,
                    stop=stop,
                    on_iteration=on_iteration,
                )
                try:
                    if lacks_equilibrium(job, task):
                        # It was computed elsewhere, or its density is gone; others beside may want it too.
                        with self._running.alone(job, stop):
                            if lacks_equilibrium(job, task):
                                converging.run(Task(index=0))
                    result = converging.run(task)
                except ConfigError as error:
                    self._media.learn(error)
                    raise
                except InputError as error:
                    raise whose(error, payload) from None
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
        medium = self._media.of(payload)
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
                gentle=gentle_mixing(pw_input),
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
                self._media.learn(error)
                raise
            except InputError as error:
                raise whose(error, payload) from None
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

    def _job_folder(self, job_id: str) -> Path:
        if not re.fullmatch(ID, job_id):
            raise InputError(f"{job_id!r} cannot be a job's id", code="bad_job_id", field="job_id")
        return self._jobs / job_id


def _warnings(pw_input: PwInput, result: ScfResult | IonicResult) -> list[str]:
    """Return what is to be said of a result: that pw.x is known to be wrong here, and its own warnings."""
    known = gamma_warning(pw_input, result.version)
    return [*([known] if known else []), *result.warnings][:MAX_WARNINGS]
