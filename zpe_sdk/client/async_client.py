"""The client of the control plane for asynchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date, datetime
from functools import cached_property, partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypedDict, Unpack

import httpx

from zpe_sdk.client.async_job import AsyncJob, completed, given_tags, submit_fields, wait_all
from zpe_sdk.client.connection import Connection
from zpe_sdk.client.listing import Listing, selection, warn_of_expiry
from zpe_sdk.client.local_service import EMBEDDED_FOLDER, Embedded, Engine, start_embedded
from zpe_sdk.client.settings import ClientSettings
from zpe_sdk.client.submission import Mobile, Structure, environ_text, input_text, is_atoms, mobile_indices
from zpe_sdk.errors import InputError
from zpe_sdk.wire import (
    ApiTokenReply,
    CancelledReply,
    EngineName,
    Expect,
    JobKind,
    JobList,
    JobOrder,
    JobRequest,
    JobState,
    JobStatus,
    Me,
    MeRequest,
    ParseReply,
    ParseRequest,
    RelaxOptions,
)

if TYPE_CHECKING:
    from ase import Atoms

    from zpe_sdk.client.async_admin import AsyncAdmin
    from zpe_sdk.client.async_project import AsyncProject
    from zpe_sdk.client.async_workers import AsyncWorkers
    from zpe_sdk.client.offers import Offer
    from zpe_sdk.client.prospect import Plan
    from zpe_sdk.espresso.pseudopotentials import Choose
    from zpe_sdk.result.result import ZPEResult
    from zpe_sdk.result.structure import EnergyResult, RelaxationResult
    from zpe_sdk.wire import Machine

# Whether to relax first, and how.
Relax: TypeAlias = bool | Mapping[str, Any] | RelaxOptions
_TOGETHER = 8  # submissions under way at a time
_PAGE = 500  # jobs
_KNOWN_SECONDS = 30.0  # so long it counts which files workers have


class RunOptions(TypedDict, total=False):
    """Where and with which physics a structure is computed, and what is written on the job.

    :meth:`AsyncZPEClient.submit` tells of each.
    """

    use_environ: bool
    environ: Path | str | None
    calc_mode: Literal["continue", "new"]
    priority: int
    where: str | None
    requires: Mapping[str, Any] | None
    engine: EngineName | None
    project: str | None
    tags: Iterable[str]
    note: str | None
    keep: bool
    once: bool
    pseudopotentials: Mapping[str, str] | None
    ecutwfc: float | None
    ecutrho: float | None
    kpts: Any
    input_data: Mapping[str, Any] | None


class SubmitOptions(RunOptions, total=False):
    """The options of :meth:`AsyncZPEClient.submit` that are the same for all jobs of one call."""

    relax: Relax
    mobile: Mobile | None
    delta: float | None
    low_cut_cm: float | None
    temperature: float | None
    symmetry: bool
    allow_state_changes: bool
    verify: float
    expect: Expect


class ManyOptions(SubmitOptions, total=False):
    """Those of all kinds of jobs."""

    fmax: float | None
    steps: int | None


_RUN_OPTIONS = RunOptions.__optional_keys__
_OPTIONS = ManyOptions.__optional_keys__


class AsyncZPEClient:
    """A client for asynchronous code.

    Parameters
    ----------
    url, token
        The control plane and your token; default: ``ZPE_CONTROL_API_URL`` and ``ZPE_TOKEN``, then what
        ``zpe login`` saved.
    insecure
        Send the token over plain HTTP to another machine, on a network you trust.
    ca_bundle
        PEM file of the certificate authorities to trust, for a private one.
    timeout
        Seconds to wait for a connection or a reply, or an :class:`httpx.Timeout`.
    retry_seconds
        How long a call is repeated while the control plane is away; every call may be.
    pseudo_dir
        A folder of pseudopotential files as the workers have them, from which those of Atoms are chosen;
        default: ``ZPE_PSEUDO_DIR``. Without it, they are chosen from what the workers say they have.
    transport
        Another way to the control plane than the network, see :mod:`httpx`; a pickle does not keep it.

    Attributes
    ----------
    connection
        For calls of the API that have no method here, see :class:`zpe_sdk.client.connection.Connection`.

    Raises
    ------
    ConfigError
        ``url_missing``, ``bad_url``, ``insecure_url``, ``bad_ca_bundle``, …
    AuthError
        ``token_missing`` or ``bad_token``.

    Examples
    --------
    >>> async with AsyncZPEClient() as client:
    ...     job = await client.submit("h2_zpe.in")
    ...     result = await (await job.wait()).result()
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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        settings = ClientSettings.find(
            url,
            token,
            insecure=insecure,
            ca_bundle=Path(ca_bundle) if ca_bundle else None,
            pseudo_dir=Path(pseudo_dir) if pseudo_dir else None,
        )
        self.connection = Connection(
            settings, timeout=timeout, retry_seconds=retry_seconds, transport=transport
        )
        # Whatever is needed to make this client again elsewhere; no token goes into a pickle.
        self._options = {
            "url": str(self.url),
            "insecure": settings.insecure,
            "ca_bundle": settings.ca_bundle,
            "timeout": timeout,
            "retry_seconds": retry_seconds,
            "pseudo_dir": settings.pseudo_dir,
        }
        self._choose: Choose | None = None
        self._machines: tuple[float, list[Machine]] | None = None  # as they were at a time
        if settings.pseudo_dir:
            from zpe_sdk.espresso.pseudopotentials import choose

            self._choose = partial(choose, settings.pseudo_dir)
        self._embedded: Embedded | None = None

    @cached_property
    def admin(self) -> AsyncAdmin:
        """The calls of administrators, see :class:`zpe_sdk.client.async_admin.AsyncAdmin`."""
        from zpe_sdk.client.async_admin import AsyncAdmin

        return AsyncAdmin(self.connection)

    @cached_property
    def workers(self) -> AsyncWorkers:
        """The workers that may run your jobs, see :class:`zpe_sdk.client.async_workers.AsyncWorkers`."""
        from zpe_sdk.client.async_workers import AsyncWorkers

        return AsyncWorkers(self.connection)

    @property
    def url(self) -> httpx.URL:
        """The base URL of the control plane."""
        return self.connection.url

    @classmethod
    async def embedded(
        cls,
        folder: Path | str = EMBEDDED_FOLDER,
        *,
        engine: Engine = "qe",
        pseudo_dir: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
        start_seconds: float | None = None,
    ) -> Self:
        """Start a control plane, its Redis and a worker on this machine, and return a client of them.

        They are stopped by :meth:`aclose`, at the end of an ``async with`` block, or with this process. Jobs
        and results stay in ``folder`` and are there again the next time. Called again meanwhile, it returns a
        client of what runs already.

        Parameters
        ----------
        folder
            Where everything is kept; one process at a time can use it.
        engine
            ``"qe"`` runs pw.x; ``"mock"`` computes forces of springs, for teaching: no physics, and at once.
        pseudo_dir
            Folder of the pseudopotential files; default: ``ZPE_PSEUDO_DIR``, or that of Debian's package.
        settings
            More ``ZPE_`` variables for control plane and worker.
        start_seconds
            How long it may take to start; None: as long as the control plane lives.

        Raises
        ------
        ConfigError
            ``extra_missing``, ``pw_not_found`` or ``service_not_started``.
        """
        running = await start_embedded(
            Path(folder),
            engine=engine,
            pseudo_dir=Path(pseudo_dir) if pseudo_dir else None,
            settings=settings,
            start_seconds=start_seconds,
        )
        service = running.service
        client = cls(service.url, service.token, pseudo_dir=service.pseudo_dir)
        if engine == "mock":
            from zpe_sdk.espresso.pseudopotentials import placeholders

            client._choose = placeholders
        client._embedded = running
        return client

    async def submit(
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
    ) -> AsyncJob[ZPEResult]:
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
            (:meth:`AsyncWorkers.all` lists them), or the name of a group that you are in. Default: what
            you have selected with :meth:`AsyncWorkers.select`, or any.
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
        return await self._submit(
            structure,
            {
                "relax": relax,
                "name": name,
                "delta": delta,
                "low_cut_cm": low_cut_cm,
                "temperature": temperature,
                "symmetry": symmetry,
                "allow_state_changes": allow_state_changes,
                "verify": verify,
                "expect": expect,
            },
            mobile,
            use_environ=use_environ,
            environ=environ,
            calc_mode=calc_mode,
            priority=priority,
            where=where,
            requires=requires,
            engine=engine,
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

    async def relax(
        self,
        structure: Structure,
        *,
        name: str | None = None,
        fmax: float | None = None,
        steps: int | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncJob[RelaxationResult]:
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
        fields = {"kind": "relax", "name": name, "relax": {"fmax": fmax, "steps": steps}}
        return await self._submit(structure, fields, **options)

    async def energy(
        self, structure: Structure, *, name: str | None = None, **options: Unpack[RunOptions]
    ) -> AsyncJob[EnergyResult]:
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
        return await self._submit(structure, {"kind": "energy", "name": name}, **options)

    async def follow(
        self,
        result: ZPEResult,
        mode: int = 0,
        *,
        amplitude: float = 0.2,
        relax: Relax = True,
        **options: Unpack[RunOptions],
    ) -> list[AsyncJob[ZPEResult]]:
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
        # A client that submits files needs no NumPy; whoever has a result has it.
        from zpe_sdk.espresso.input import PwInput
        from zpe_sdk.espresso.moved import moved_text

        d = result.document
        if d.use_environ and not (options.get("environ") or options.get("use_environ")):
            raise InputError(
                "the result was computed with Environ: give its input again (environ=, or use_environ=True)",
                code="bad_request",
                field="environ",
            )
        options.setdefault("engine", "mock" if d.is_mock else "espresso")
        pw_input = PwInput.parse(d.pw_input)
        return await self.submit_many(
            [
                moved_text(pw_input, result.displaced(mode, side).positions)
                for side in (-amplitude, amplitude)
            ],
            relax=relax,
            mobile=d.mobile_indices,
            delta=d.delta,
            low_cut_cm=d.low_cut_cm,
            temperature=d.temperature,
            **options,
        )

    async def _submit(
        self,
        structure: Structure,
        fields: Mapping[str, Any],
        mobile: Mobile | None = None,
        **options: Any,
    ) -> AsyncJob[Any]:
        from zpe_sdk.espresso.pseudopotentials import in_words

        filled, chosen = await self._filled(structure, fields, mobile, **options)
        job: AsyncJob[Any] = await submit_fields(self.connection, filled)
        job.choices = in_words(chosen)
        return job

    async def _filled(
        self,
        structure: Structure,
        fields: Mapping[str, Any],
        mobile: Mobile | None = None,
        *,
        use_environ: bool = False,
        environ: Path | str | None = None,
        calc_mode: Literal["continue", "new"] = "continue",
        priority: int = 0,
        where: str | None = None,
        requires: Mapping[str, Any] | None = None,
        engine: EngineName | None = None,
        project: str | None = None,
        tags: Iterable[str] = (),
        note: str | None = None,
        keep: bool = False,
        once: bool = False,
        **rendering: Any,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields of a request, and what was chosen because nobody said it."""
        atoms = structure if is_atoms(structure) else None
        choose = self._choose
        if choose is None and atoms is not None:
            choose = await self._chooses_offered(atoms, rendering.get("pseudopotentials"), engine)
        text, chosen = input_text(structure, choose, **rendering)
        filled = {
            **fields,
            "content": text,
            "mobile_indices": mobile_indices(mobile, text, atoms),
            "use_environ": use_environ or environ is not None,
            "environ": environ_text(environ),
            "calc_mode": calc_mode,
            "priority": priority,
            "where": where,
            "requires": requires or {},
            "engine": engine,
            "project": project,
            "tags": given_tags(tags),
            "note": note,
            "keep": keep,
            "once": once,
        }
        return filled, chosen

    async def _chooses_offered(self, atoms: Atoms, named: Any, engine: EngineName | None) -> Choose | None:
        """Return what chooses from the files that workers offer; None if all are named."""
        if isinstance(named, Mapping) and set(atoms.get_chemical_symbols()) <= set(named):
            return None
        now = monotonic()
        if self._machines is None or now - self._machines[0] > _KNOWN_SECONDS:
            self._machines = (now, await self.workers.machines())
        there = [machine for machine in self._machines[1] if machine.takes_work]
        if there and engine != "espresso" and all(machine.engine == "mock" for machine in there):
            from zpe_sdk.espresso.pseudopotentials import placeholders

            return placeholders
        from zpe_sdk.client.offers import choose_offered

        return partial(choose_offered, there)

    async def plan(
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
        from zpe_sdk.client.prospect import Plan

        given: dict[str, Any] = dict(options)
        if unknown := set(given) - _OPTIONS:
            raise TypeError(f"plan() got an unexpected keyword argument {unknown.pop()!r}")
        run = {name: given.pop(name) for name in _RUN_OPTIONS & set(given)}
        mobile, how = given.pop("mobile", None), {name: given.pop(name, None) for name in ("fmax", "steps")}
        fields = {"kind": kind, **given} | ({"relax": how} if kind == "relax" else {})
        filled, _ = await self._filled(structure, fields, mobile, **run)
        return await self.connection.call(
            "POST", "/calc/zpe/plan", Plan, body=JobRequest, fields={**filled, "once": False}
        )

    async def pseudopotentials(self, symbols: Iterable[str]) -> dict[str, list[Offer]]:
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
        from zpe_sdk.client.offers import offers

        return offers(await self.workers.machines(), [symbols] if isinstance(symbols, str) else list(symbols))

    async def submit_many(
        self,
        /,
        structures: Mapping[str, Structure] | Iterable[Structure],
        *,
        names: Iterable[str] | None = None,
        kind: JobKind = "vibrations",
        **options: Unpack[ManyOptions],
    ) -> list[AsyncJob[Any]]:
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
        # Each of these can be iterated over too: Atoms by atom.
        single = is_atoms(structures) or isinstance(structures, str | bytes)
        if single or not isinstance(structures, Iterable):
            raise InputError(
                "give several structures, in a list; submit() takes a single one",
                code="bad_request",
                field="structures",
            )
        if isinstance(structures, Mapping):
            names = structures.keys() if names is None else names
            structures = structures.values()
        by_kind: dict[JobKind, Callable[..., Awaitable[AsyncJob[Any]]]]
        by_kind = {"vibrations": self.submit, "relax": self.relax, "energy": self.energy}
        submit = by_kind[kind]
        items = list(structures)
        called: list[str | None] = [None] * len(items) if names is None else list(names)
        if len(called) != len(items):
            raise InputError(
                f"{len(called)} names for {len(items)} structures", code="bad_request", field="names"
            )
        together = asyncio.Semaphore(_TOGETHER)
        submitted: dict[int, AsyncJob[Any]] = {}
        failed: list[Exception] = []

        async def one(place: int, structure: Structure, name: str | None) -> None:
            async with together:
                # After a failure no other begins; those under way end, and are cancelled with the rest.
                if failed:
                    return
                try:
                    submitted[place] = await submit(structure, name=name, **options)
                except Exception as error:
                    error.add_note(f"structures[{place}]{f' ({name})' if name else ''}; none was submitted")
                    failed.append(error)

        try:
            await asyncio.gather(
                *(one(place, *item) for place, item in enumerate(zip(items, called, strict=True)))
            )
        finally:
            # An interrupt ends it as a failure does. One may be over already: no matter.
            if len(submitted) < len(items):
                made = [job for job in submitted.values() if job.created]
                await asyncio.gather(*(job.cancel() for job in made), return_exceptions=True)
        if failed:
            raise failed[0]
        return [submitted[place] for place in range(len(items))]

    async def parse(self, text: str) -> ParseReply:
        """Let the control plane read a pw.x input: structure, fixed atoms, species, k-points.

        Raises
        ------
        InputError
            Naming the card or the namelist key at fault.
        """
        return await self.connection.call(
            "POST", "/calc/zpe/parse", ParseReply, body=ParseRequest, fields={"content": text}
        )

    def job(self, job_id: str) -> AsyncJob[Any]:
        """Return the job of an id, without asking the control plane yet."""
        return AsyncJob(self.connection, job_id)

    def project(self, name: str) -> AsyncProject:
        """Return a project of yours: jobs that belong together, by their names."""
        from zpe_sdk.client.async_project import AsyncProject

        return AsyncProject(self, name)

    async def jobs(
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
    ) -> Listing[AsyncJob[Any]]:
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
        params = selection(status, project, tags, since, until, search, owner) | {"order": order}
        found: dict[str, JobStatus] = {}
        total, skipped = 0, offset
        while True:
            some = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = await self.connection.call(
                "GET", "/calc/zpe/jobs", JobList, params=params | {"limit": some, "offset": skipped}
            )
            # One that came in meanwhile has moved the others on: a job is listed once.
            found |= {job.job_id: job for job in page.jobs}
            total, skipped = page.total, skipped + some
            if skipped >= total or (limit is not None and len(found) >= limit):
                break
        warn_of_expiry(found.values())
        return Listing([AsyncJob(self.connection, *job) for job in found.items()], total)

    async def cancel_jobs(
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
        params = selection(status, project, tags, since, until, search, owner)
        return await self.connection.call(
            "POST", "/calc/zpe/jobs/cancel", CancelledReply, params=params | {"dry_run": dry_run or None}
        )

    async def me(self) -> Me:
        """Return who you are on this control plane: the name that your jobs carry, and your groups."""
        return await self.connection.call("GET", "/calc/zpe/me", Me)

    async def keep_login(self) -> ApiTokenReply:
        """Return a token of longer life for the login at an issuer with whose token this client calls.

        Raises
        ------
        AuthError
            ``forbidden``: this client calls with a token of the control plane.
        """
        return await self.connection.call("POST", "/calc/zpe/login", ApiTokenReply)

    async def show_jobs(self, shown: bool = True) -> Me:
        """Let the members of your groups see your jobs and their results, or (False) nobody but you."""
        return await self.connection.call(
            "PATCH", "/calc/zpe/me", Me, body=MeRequest, fields={"shows_jobs": shown}
        )

    as_completed = staticmethod(completed)
    wait_all = staticmethod(wait_all)

    async def aclose(self) -> None:
        """Close the connections, and stop what :meth:`embedded` has started."""
        await self.connection.close()
        if self._embedded:
            await asyncio.to_thread(self._embedded.close)
            self._embedded = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (remade, (type(self), self._options))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def remade(kind: type[Any], options: Mapping[str, Any]) -> Any:
    """Make a client that was pickled again."""
    return kind(**options)
