"""From a request to a planned job: which SCFs it takes, and what a worker needs to run them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from zpe_sdk.errors import InputError
from zpe_sdk.espresso import environ, patch, physics
from zpe_sdk.espresso.contacts import check_contacts
from zpe_sdk.espresso.cost import scf_cost
from zpe_sdk.espresso.gamma import gamma_warning
from zpe_sdk.espresso.input import PwInput, parse
from zpe_sdk.espresso.relaxation import check_relaxation, steps_wanted
from zpe_sdk.espresso.symmetry import symmetry_of
from zpe_sdk.espresso.versions import VersionNeed, check_together, needed_versions
from zpe_sdk.vibrations.plan import Plan, plan_displacements
from zpe_sdk.wire import JobKind, JobPayload, JobRequest, RelaxOptions, Task
from zpe_server.settings import Settings
from zpe_server.verification import copies_of

# Of one job. A thousand atoms without any symmetry take 6001.
MAX_SCFS = 10_000


@dataclass(frozen=True)
class PlannedJob:
    """A stage of a job, ready to be queued.

    Attributes
    ----------
    payload
        The payload sent to workers.
    plan
        Its displacements, and the symmetry that completes the Hessian; None in other stages.
    tasks
        Its SCFs, or its one relaxation.
    scf_keys
        Of each SCF, a hash of all that decides its forces and is in the input: equal keys, equal forces, as
        long as program and pseudopotentials are the same. Empty for those that verify another one.
    physics
        Hash of all in the input that decides the forces besides the positions; every report must name it.
    environ_sha256
        Hash of the Environ input that came with the request, as reports name it; None without.
    pseudopotentials
        File names that a worker must have.
    versions
        Conditions on its version of pw.x.
    warnings
        What the author of the input should know.
    formula, nat
        Chemical formula and number of atoms of the whole structure.
    cost
        Of an SCF, to compare it with others: see :func:`zpe_sdk.espresso.cost.scf_cost`.
    """

    payload: JobPayload
    plan: Plan | None
    tasks: list[Task]
    scf_keys: list[str]
    physics: str
    environ_sha256: str | None
    pseudopotentials: list[str]
    versions: list[VersionNeed]
    warnings: list[str]
    formula: str
    nat: int
    cost: float


def plan_job(request: JobRequest, settings: Settings) -> PlannedJob:
    """Parse the input and plan the job's first stage.

    Raises
    ------
    InputError
        The input cannot be carried out; ``field`` names what is at fault.
    """
    if request.relaxation is None:
        return plan_stage(request, request.kind, settings)
    if request.kind == "vibrations":
        # What cannot follow the relaxation is refused before it, and not after hours of work.
        plan_stage(request, "vibrations", settings)
    return plan_stage(request, "relax", settings)


def plan_stage(request: JobRequest, stage: JobKind, settings: Settings) -> PlannedJob:
    """Plan the SCFs, or the relaxation, of one stage of a job.

    Parameters
    ----------
    request
        The job. Of a stage after a relaxation, ``content`` has the relaxed positions.
    stage
        What is to be computed.
    settings
        What counts where the request leaves it open.

    Raises
    ------
    InputError
        The input cannot be carried out; ``field`` names what is at fault.
    """
    pw_input = parse(request.content)
    check_contacts(pw_input.symbols, pw_input.labels, pw_input.positions, pw_input.cell)
    versions = _versions(pw_input, request)
    medium = None if request.environ is None else environ.parse(request.environ)
    use_environ = request.use_environ or medium is not None
    # Of a worker's own environ.in nothing is known here.
    isotropic = not use_environ or (medium is not None and medium.keeps_symmetry)
    delta = settings.delta if request.delta is None else request.delta
    plan = _displacements(pw_input, request, delta, isotropic) if stage == "vibrations" else None
    tasks = list(plan.displacements) if plan else [Task(index=0)]
    if len(tasks) > MAX_SCFS:
        raise InputError(
            f"this job takes {len(tasks)} SCFs; at most {MAX_SCFS} are possible: choose fewer mobile atoms",
            code="out_of_bounds",
            field="mobile_indices",
        )
    copies = copies_of(tasks, request.verify) if stage != "relax" else []
    warnings = [warning] if (warning := gamma_warning(pw_input)) else []
    # What cannot be patched, e.g. a displacement that pw.x would not see, is refused here, not on a worker.
    if request.relaxation and stage == "relax":
        warnings += check_relaxation(pw_input)
    else:
        patch.task_text(
            pw_input, tasks[-1], prefix="pw", outdir="./", pseudo_dir="./", electrons={}, nosym=not isotropic
        )
    payload = JobPayload(
        content=request.content,
        kind=request.kind,
        stage=stage,
        relax=_options(pw_input, request),
        mobile_indices=list(plan.mobile) if plan else _vibrating(pw_input, request),
        use_environ=use_environ,
        environ=request.environ,
        input_dir=request.input_dir,
        calc_mode=request.calc_mode,
        structure_id=request.structure_id,
        delta=delta,
        low_cut_cm=settings.low_cut_cm if request.low_cut_cm is None else request.low_cut_cm,
        temperature=settings.temperature if request.temperature is None else request.temperature,
        engine=request.engine or settings.engine,
        expect=request.expect,
        max_scf_seconds=request.requires.max_scf_seconds or settings.max_scf_seconds,
    )
    # What is to be verified is computed, not taken over; nor is a relaxation, which is no single SCF.
    keys = [""] if stage == "relax" else _scf_keys(pw_input, tasks, use_environ, medium)
    return PlannedJob(
        payload=payload,
        plan=plan,
        tasks=[*tasks, *copies],
        scf_keys=keys + [""] * len(copies),
        physics=physics.physics_hash(pw_input),
        environ_sha256=medium.physics_hash() if medium else None,
        pseudopotentials=sorted(pw_input.pseudopotentials),
        versions=versions,
        warnings=warnings,
        formula=pw_input.formula,
        nat=len(pw_input.labels),
        cost=scf_cost(pw_input),
    )


def _displacements(pw_input: PwInput, request: JobRequest, delta: float, isotropic: bool) -> Plan:
    symmetry = symmetry_of(pw_input) if request.symmetry and isotropic else None
    labels, breakers = symmetry or (pw_input.labels, None)
    return plan_displacements(
        pw_input.positions,
        pw_input.cell,
        labels,
        pw_input.mobile(request.mobile_indices),
        delta=delta,
        symmetry=symmetry is not None,
        breakers=breakers,
    )


def _options(pw_input: PwInput, request: JobRequest) -> RelaxOptions | None:
    """Return how to relax, with the number of steps decided."""
    options = request.relaxation
    return options and options.model_copy(update={"steps": steps_wanted(pw_input, options)})


def _vibrating(pw_input: PwInput, request: JobRequest) -> list[int]:
    """Return the atoms that a later stage displaces, or none."""
    return list(pw_input.mobile(request.mobile_indices)) if request.kind == "vibrations" else []


def _versions(pw_input: PwInput, request: JobRequest) -> list[VersionNeed]:
    needs = list(needed_versions(pw_input))
    if request.requires.pw:
        needs.append(VersionNeed(request.requires.pw, "as the job requires", "requires.pw"))
    check_together(needs)
    return needs


def _scf_keys(
    pw_input: PwInput, tasks: Sequence[Task], use_environ: bool, medium: environ.EnvironInput | None
) -> list[str]:
    surroundings = medium.physics_hash() if medium else use_environ
    return [
        hashlib.sha256(f"{key} {surroundings}".encode()).hexdigest()[:32]
        for key in physics.scf_keys(pw_input, tasks)
    ]
