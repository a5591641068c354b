"""The client of the control plane for scripts and notebooks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import httpx

from zpe_sdk.client.async_client import AsyncZPEClient, ManyOptions, Relax, RunOptions, remade
from zpe_sdk.client.async_job import AsyncJob, R_co
from zpe_sdk.client.blocking import in_notebook, run
from zpe_sdk.client.job import Job, as_completed, wait_all
from zpe_sdk.client.listing import Listing
from zpe_sdk.client.local_service import EMBEDDED_FOLDER, Engine
from zpe_sdk.client.submission import Mobile, Structure
from zpe_sdk.wire import (
    ApiTokenReply,
    CancelledReply,
    EngineName,
    Expect,
    JobKind,
    JobOrder,
    JobState,
    Me,
    ParseReply,
)

if TYPE_CHECKING:
    from zpe_sdk.client.admin import Admin
    from zpe_sdk.client.offers import Offer
    from zpe_sdk.client.project import Project
    from zpe_sdk.client.prospect import Plan
    from zpe_sdk.client.workers import Workers
    from zpe_sdk.result.result import ZPEResult
    from zpe_sdk.result.structure import EnergyResult, RelaxationResult


class ZPEClient:
    """A client for scripts and notebooks: the calls of :class:`AsyncZPEClient`, blocking.

    It works as well where an event loop is running already, and may be shared by threads. Parameters and
    errors are those of :class:`AsyncZPEClient`.

    Examples
    --------
    >>> with ZPEClient() as client:
    ...     result = client.submit("h2_zpe.in").wait().result()
    >>> result.zpe_ev
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        insecure: bool = False,
        ca_bundle: Path | str | None = None,
        timeout: float | httpx.Timeout = 30.0,
        retry_seconds: float = 60.0,
        pseudo_dir: Path | str | None = None,
    ) -> None:
        self._async = AsyncZPEClient(
            url,
            token,
            insecure=insecure,
            ca_bundle=ca_bundle,
            timeout=timeout,
            retry_seconds=retry_seconds,
            pseudo_dir=pseudo_dir,
        )
        self._said: set[str] = set()

    @classmethod
    def embedded(
        cls,
        folder: Path | str = EMBEDDED_FOLDER,
        *,
        engine: Engine = "qe",
        pseudo_dir: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
        start_seconds: float | None = None,
    ) -> Self:
        """Start a control plane, its Redis and a worker on this machine, and return a client of them.

        Stopped by :meth:`close`, at the end of a ``with`` block, or with this process; see
        :meth:`AsyncZPEClient.embedded`.
        """
        client = cls.__new__(cls)
        client._async = run(
            AsyncZPEClient.embedded(
                folder,
                engine=engine,
                pseudo_dir=pseudo_dir,
                settings=settings,
                start_seconds=start_seconds,
            )
        )
        client._said = set()
        return client

    @cached_property
    def admin(self) -> Admin:
        """The calls of administrators, see :class:`zpe_sdk.client.admin.Admin`."""
        from zpe_sdk.client.admin import Admin

        return Admin(self._async.admin)

    @cached_property
    def workers(self) -> Workers:
        """The workers that may run your jobs, see :class:`zpe_sdk.client.workers.Workers`."""
        from zpe_sdk.client.workers import Workers

        return Workers(self._async.workers)

    @property
    def url(self) -> httpx.URL:
        """The base URL of the control plane."""
        return self._async.url

    # Written by scripts/write_blocking.py from async_client.py: do not edit.

    def submit(
        self,
        structure: Structure,
        *,
        relax: Relax = False,
        mobile: Mobile | None = None,
        name: str | None = None,
        delta: float | None = None,
        low_cut_cm: float | None = None,
        temperature: float | None = None,
        symmetry: bool = True,
        use_environ: bool = False,
        environ: Path | str | None = None,
        calc_mode: Literal["continue", "new"] = "continue",
        priority: int = 0,
        where: str | None = None,
        requires: Mapping[str, Any] | None = None,
        allow_state_changes: bool = False,
        engine: EngineName | None = None,
        verify: float = 0.0,
        expect: Expect = "minimum",
        project: str | None = None,
        tags: Iterable[str] = (),
        note: str | None = None,
        keep: bool = False,
        once: bool = False,
        pseudopotentials: Mapping[str, str] | None = None,
        ecutwfc: float | None = None,
        ecutrho: float | None = None,
        kpts: Any = None,
        input_data: Mapping[str, Any] | None = None,
    ) -> Job[ZPEResult]:
        """Submit a vibrational calculation.

        Parameters
        ----------
        structure
            ASE Atoms, a pw.x input file (its path), or the text of one.
        relax
            Relax the atoms that are not fixed first, and displace those of the relaxed structure. True: until
            forces are as small as a Hessian wants them (``forc_conv_thr`` of 1e-4 Ry/bohr, 0.0026 eV/Å); or
            how: ``{"fmax": 0.005, "steps": 50}``, largest force in eV/Å and most steps, or one of these. Cell
            vectors stay as they are.
        mobile
            The atoms that vibrate: 0-based indices, a mask of booleans, chemical symbols, or a function of
            the Atoms that returns one of these; default: all that are not fixed.
        name
            Your name for the job.
        delta
            Displacement in Å.
        low_cut_cm
            Modes below this wavenumber, in cm⁻¹, are left out of ZPE and thermochemistry.
        temperature
            In K.
        symmetry
            Use the symmetry of the structure to run fewer SCFs.
        use_environ
            Run with Environ (implicit solvent). Without ``environ``, each worker takes its own
            ``environ.in``, and no symmetry is used.
        environ
            Input for Environ: a file (its path), or its text. It says that Environ is to be used.
        calc_mode
            ``"continue"`` takes over SCFs that were already run for exactly the same physics; ``"new"``
            ignores them.
        priority
            From -100 to 100; higher ones first. Among equals, owners take turns. Above 0 it counts among your
            own jobs, and among those of others as far as an administrator allows (:meth:`me`).
        where
            On which workers it may run: ``"any"``; ``"mine"``, workers of your own; the name or id of one
            (:meth:`Workers.all` lists them), or the name of a group that you are in. Default: what
            you have selected with :meth:`Workers.select`, or any.
        requires
            What a machine must have to get SCFs of this job: ``{"tags": ["bigmem"], "cores": 16,
            "memory_gb": 64, "pw": ">=7.1"}`` or some of these. Administrators give tags to their workers
            (``ZPE_TAGS``); ``pw`` is the version of pw.x. ``"max_scf_seconds": 3600`` ends an SCF that takes
            longer.
        allow_state_changes
            Finish, with a warning, although SCFs ended in another electronic (magnetic, orbital) state than
            that of the undisplaced structure, from all starts that were tried. By default such a job fails.
        engine
            ``"espresso"``: computed by pw.x alone; ``"mock"``: by springs, for teaching, and the result says
            so; default: what the control plane is set up for, normally pw.x.
        verify
            The share of SCFs, from 0 to 1, that two workers compute and that are compared; at least one if
            above 0. The job waits for a second worker, and fails as ``workers_disagree`` if they differ.
        expect
            ``"saddle"``: the structure is a transition state, at which one imaginary vibration is no alarm.
        project, tags, note
            To find the job again: see :meth:`jobs` and :meth:`project`. ``job.update(…)`` changes them.
        keep
            Keep the job and its result; otherwise they are forgotten some time after it is over.
        once
            If ``project`` has a job ``name`` of yours already, return that one, unless it was cancelled.
            Only one that has failed may be submitted with other settings by its name.
        pseudopotentials, ecutwfc, ecutrho, kpts, input_data
            For Atoms only: how the pw.x input is made (cutoffs in Ry), see
            :func:`zpe_sdk.espresso.render.render_input`. What is not given is chosen
            (:mod:`zpe_sdk.espresso.pseudopotentials`) and told: ``job.choices``.

        Raises
        ------
        InputError
            Naming the field, the card or the namelist key at fault.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return self._told(
            [
                run(
                    self._async.submit(
                        structure,
                        relax=relax,
                        mobile=mobile,
                        name=name,
                        delta=delta,
                        low_cut_cm=low_cut_cm,
                        temperature=temperature,
                        symmetry=symmetry,
                        use_environ=use_environ,
                        environ=environ,
                        calc_mode=calc_mode,
                        priority=priority,
                        where=where,
                        requires=requires,
                        allow_state_changes=allow_state_changes,
                        engine=engine,
                        verify=verify,
                        expect=expect,
                        project=project,
                        tags=tags,
                        note=note,
                        keep=keep,
                        once=once,
                        pseudopotentials=pseudopotentials,
                        ecutwfc=ecutwfc,
                        ecutrho=ecutrho,
                        kpts=kpts,
                        input_data=input_data,
                    )
                )
            ]
        )[0]

    def relax(
        self,
        structure: Structure,
        *,
        name: str | None = None,
        fmax: float | None = None,
        steps: int | None = None,
        **options: Unpack[RunOptions],
    ) -> Job[RelaxationResult]:
        """Submit a relaxation: the atoms that are not fixed move to the structure of lowest energy nearby.

        Parameters
        ----------
        structure
            As for :meth:`submit`. An input with ``calculation = 'relax'`` keeps its ``&IONS``. Cell vectors
            stay as they are.
        name
            Your name for the job.
        fmax
            It has ended well when no atom feels a larger force in eV/Å, of what is free to move. Default:
            ``forc_conv_thr`` of 1e-4 Ry/bohr (0.0026 eV/Å) for each component, or that of the input if it is
            less.
        steps
            How many steps it may take; default: ``nstep`` of the input, or 100.
        **options
            As for :meth:`submit`: ``use_environ``, ``environ``, ``calc_mode``, ``priority``, ``where``,
            ``requires``, ``engine``, ``project``, ``tags``, ``note``, ``keep``, ``once``, and for Atoms
            ``pseudopotentials``, ``ecutwfc``, ``ecutrho``, ``kpts``, ``input_data``.

        Raises
        ------
        InputError
            Naming the field, the card or the namelist key at fault.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return self._told([run(self._async.relax(structure, name=name, fmax=fmax, steps=steps, **options))])[
            0
        ]

    def energy(
        self, structure: Structure, *, name: str | None = None, **options: Unpack[RunOptions]
    ) -> Job[EnergyResult]:
        """Submit a single SCF: energy and forces of a structure as it is.

        Parameters
        ----------
        structure, name, **options
            As for :meth:`relax`.

        Raises
        ------
        InputError
            Naming the field, the card or the namelist key at fault.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return self._told([run(self._async.energy(structure, name=name, **options))])[0]

    def follow(
        self,
        result: ZPEResult,
        mode: int = 0,
        *,
        amplitude: float = 0.2,
        relax: Relax = True,
        **options: Unpack[RunOptions],
    ) -> list[Job[ZPEResult]]:
        """Submit the structures on both sides of a mode, relaxed: where does an imaginary one lead?

        :meth:`zpe_sdk.ZPEResult.descent` compares their results with the structure in between.

        Parameters
        ----------
        result
            Of the structure between; all else of its input and settings is kept.
        mode
            From 0, or from the end if negative; the imaginary ones come first.
        amplitude
            Of the atom that moves most, in Å.
        relax
            How, see :meth:`submit`.
        **options
            ``environ``, which a result computed with Environ does not hold, ``calc_mode``, ``priority``,
            ``where``, ``requires``, ``engine``; as for :meth:`submit`.

        Raises
        ------
        InputError
            ``bad_mode``, or as :meth:`submit`; ``bad_request``: the result was computed with Environ, whose
            input has to be given again.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return self._told(run(self._async.follow(result, mode, amplitude=amplitude, relax=relax, **options)))

    def submit_many(
        self,
        /,
        structures: Mapping[str, Structure] | Iterable[Structure],
        *,
        names: Iterable[str] | None = None,
        kind: JobKind = "vibrations",
        **options: Unpack[ManyOptions],
    ) -> list[Job[Any]]:
        """Submit several calculations, all of them or none.

        Parameters
        ----------
        structures
            As for :meth:`submit`; a dict has them by name.
        names
            Your names for the jobs.
        kind
            What is computed: ``"vibrations"``, ``"relax"`` or ``"energy"``.
        **options
            As for :meth:`submit`, :meth:`relax` or :meth:`energy`, the same for all.

        Raises
        ------
        InputError
            As for these; a note tells which structure is at fault. Jobs made until then are cancelled.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return self._told(run(self._async.submit_many(structures, names=names, kind=kind, **options)))

    def plan(
        self, structure: Structure, *, kind: JobKind = "vibrations", **options: Unpack[ManyOptions]
    ) -> Plan:
        """Say what a job would take, and what seems to be wrong with it; nothing is submitted.

        Parameters
        ----------
        structure, **options
            As for :meth:`submit`, :meth:`relax` or :meth:`energy`.
        kind
            ``"vibrations"``, ``"relax"`` or ``"energy"``.

        Returns
        -------
        Plan
            SCFs, symmetry, cutoffs, warnings, machines, and the time it is expected to take: from what
            similar SCFs have taken there.

        Raises
        ------
        InputError
            As a submission would.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.plan(structure, kind=kind, **options))

    def pseudopotentials(self, symbols: Iterable[str]) -> dict[str, list[Offer]]:
        """Return by element which pseudopotential files the machines have, those first that most have.

        Parameters
        ----------
        symbols
            Chemical symbols.

        Returns
        -------
        dict
            With the kind of each file, the cutoffs that it suggests in Ry, and the machines that have it.

        Raises
        ------
        InputError
            ``bad_structure``: no machine tells of one for an element.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.pseudopotentials(symbols))

    def parse(self, text: str) -> ParseReply:
        """Let the control plane read a pw.x input: structure, fixed atoms, species, k-points.

        Raises
        ------
        InputError
            Naming the card or the namelist key at fault.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.parse(text))

    def jobs(
        self,
        *,
        status: JobState | Iterable[JobState] | None = None,
        project: str | None = None,
        tags: Iterable[str] = (),
        since: datetime | date | str | None = None,
        until: datetime | date | str | None = None,
        search: str | None = None,
        owner: str | None = None,
        order: JobOrder = "newest",
        limit: int | None = None,
        offset: int = 0,
    ) -> Listing[Job[Any]]:
        """Return your jobs (an administrator: everybody's), the newest first unless told otherwise.

        ``total`` of the list says how many there are in all. A warning tells if some are soon forgotten.

        Parameters
        ----------
        status
            Only these: ``"queued"``, ``"started"``, ``"finished"``, ``"failed"`` or ``"cancelled"``, or
            several of them.
        project
            Only those of this project.
        tags
            Only those that have all of these.
        since, until
            Only those submitted at the first or later, and before the second: a time, a day, or either in ISO
            8601, in local time unless it says otherwise.
        search
            Only jobs with this in their name, formula or id.
        owner
            Only this owner's: one of a group of yours who shows them, or for an administrator anybody.
        order
            ``"newest"`` or ``"oldest"`` first, by the time of submission; or by a value: ``"name"``,
            ``"formula"``, ``"status"``, ``"owner"``, ``"duration"`` (from its start to its end), ``"zpe"``;
            downwards with ``-``, as in ``"-zpe"``. Jobs that have no such value come last.
        limit, offset
            How many (default: all), and how many to leave out first.

        Raises
        ------
        InputError
            ``bad_request``: ``since`` or ``until`` is no time.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(
            self._async.jobs(
                status=status,
                project=project,
                tags=tags,
                since=since,
                until=until,
                search=search,
                owner=owner,
                order=order,
                limit=limit,
                offset=offset,
            )
        ).each(Job)

    def cancel_jobs(
        self,
        *,
        status: JobState | Iterable[JobState] | None = None,
        project: str | None = None,
        tags: Iterable[str] = (),
        since: datetime | date | str | None = None,
        until: datetime | date | str | None = None,
        search: str | None = None,
        owner: str | None = None,
        dry_run: bool = False,
    ) -> CancelledReply:
        """Cancel your jobs (an administrator: everybody's) that are queued or started.

        At most 10 000 at once: ``total`` of the reply says how many there were.

        Parameters
        ----------
        status, project, tags, since, until, search, owner
            Which, as in :meth:`jobs`; at least one must be given.
        dry_run
            Say which they are, and do nothing.

        Raises
        ------
        InputError
            ``bad_selection``: nothing was said of which; ``bad_request``.
        AuthError
            ``forbidden``: they are somebody else's.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(
            self._async.cancel_jobs(
                status=status,
                project=project,
                tags=tags,
                since=since,
                until=until,
                search=search,
                owner=owner,
                dry_run=dry_run,
            )
        )

    def me(self) -> Me:
        """Return who you are on this control plane: the name that your jobs carry, and your groups."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.me())

    def keep_login(self) -> ApiTokenReply:
        """Return a token of longer life for the login at an issuer with whose token this client calls.

        Raises
        ------
        AuthError
            ``forbidden``: this client calls with a token of the control plane.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.keep_login())

    def show_jobs(self, shown: bool = True) -> Me:
        """Let the members of your groups see your jobs and their results, or (False) nobody but you."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.show_jobs(shown))

    def close(self) -> None:
        """Close the connections, and stop what :meth:`embedded` has started."""
        __tracebackhide__ = True  # IPython leaves such frames out
        run(self._async.aclose())

    # End of what is written.

    def job(self, job_id: str) -> Job[Any]:
        """Return the job of an id, without asking the control plane yet."""
        return Job(self._async.job(job_id))

    def project(self, name: str) -> Project:
        """Return a project of yours: jobs that belong together, by their names."""
        from zpe_sdk.client.project import Project

        return Project(self, self._async.project(name))

    def _told(self, jobs: Iterable[AsyncJob[R_co]]) -> list[Job[R_co]]:
        """Say once, in the thread of the caller, what was chosen for jobs."""
        told = list(jobs)
        for job in told:
            if job.choices and job.choices not in self._said:
                self._said.add(job.choices)
                # Standard output is the caller's, but a notebook shows standard error as a failure.
                print(f"Chosen: {job.choices}", file=sys.stdout if in_notebook() else sys.stderr)
        return [Job(job) for job in told]

    as_completed = staticmethod(as_completed)
    wait_all = staticmethod(wait_all)

    def __reduce__(self) -> tuple[Any, ...]:
        return (remade, (type(self), self._async._options))

    def __repr__(self) -> str:
        return f"<ZPEClient {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
