"""A project, for asynchronous code: jobs that belong together, each with a name of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from zpe_sdk.client.async_client import AsyncZPEClient, ManyOptions, SubmitOptions
from zpe_sdk.client.async_job import AsyncJob, wait_all
from zpe_sdk.client.listing import Listing
from zpe_sdk.client.submission import Structure, is_atoms
from zpe_sdk.errors import InputError, ZPEError
from zpe_sdk.wire import JobKind, JobState

if TYPE_CHECKING:
    from pandas import DataFrame

    from zpe_sdk.result.bare import BareResult
    from zpe_sdk.result.kinds import AnyResult
    from zpe_sdk.result.result import ZPEResult

_TOGETHER = 8  # results under way at a time


class AsyncProject:
    """A project of yours: :class:`zpe_sdk.client.project.Project` for asynchronous code.

    Attributes
    ----------
    name
        Its name.
    """

    def __init__(self, client: AsyncZPEClient, name: str) -> None:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"a project's name is a text, not {name!r}", code="bad_request", field="project")
        self._client = client
        self.name = name

    async def submit(
        self, structure: Structure, name: str | None = None, **options: Unpack[SubmitOptions]
    ) -> AsyncJob[ZPEResult]:
        """Submit a vibrational calculation, once: if the project has it by this name, return that job.

        Parameters
        ----------
        structure
            As for :meth:`AsyncZPEClient.submit`.
        name
            The job's name; default: that of the file, or the formula of the Atoms.
        **options
            As for :meth:`AsyncZPEClient.submit`.

        Raises
        ------
        InputError
            As there; ``name_taken``: the project has another job of this name.
        """
        [job] = await self.submit_many([structure], names=None if name is None else [name], **options)
        return job

    async def submit_many(
        self,
        /,
        structures: Mapping[str, Structure] | Iterable[Structure],
        *,
        names: Iterable[str] | None = None,
        kind: JobKind = "vibrations",
        **options: Unpack[ManyOptions],
    ) -> list[AsyncJob[Any]]:
        """Submit several calculations, each once: run again, it returns the jobs that are there.

        So a script that was interrupted, or a kernel that has died, goes on where it was. Jobs that were
        cancelled are submitted anew, and those that have failed if they are asked for with other settings.

        Parameters
        ----------
        structures
            By name, or in a row.
        names
            The jobs' names; default: those of the files, or the formulas of the Atoms.
        kind
            What is computed: ``"vibrations"``, ``"relax"`` or ``"energy"``.
        **options
            As for :meth:`AsyncZPEClient.submit_many`.

        Raises
        ------
        InputError
            As there; ``name_taken``: the project has another job of this name; ``bad_request``: two
            structures have the same name, or one has none.
        """
        if isinstance(structures, Mapping):
            names = structures.keys() if names is None else names
            structures = structures.values()
        # What is no list of structures is refused by the client.
        single = is_atoms(structures) or isinstance(structures, str | bytes)
        items: Any = structures if single or not isinstance(structures, Iterable) else list(structures)
        if isinstance(items, list):
            names = [_name(item) for item in items] if names is None else list(names)
            _check_names(names)
        given: dict[str, Any] = {**options, "project": self.name, "once": True}
        return await self._client.submit_many(items, names=names, kind=kind, **given)

    async def jobs(
        self,
        *,
        status: JobState | Iterable[JobState] | None = None,
        tags: Iterable[str] = (),
        limit: int | None = None,
    ) -> Listing[AsyncJob[Any]]:
        """Return the jobs of the project, the newest first; see :meth:`AsyncZPEClient.jobs`."""
        return await self._client.jobs(project=self.name, status=status, tags=tags, limit=limit)

    async def wait(self, timeout: float | None = None, *, progress: bool = True) -> None:
        """Wait until no job of the project goes on, however the jobs end; an interrupt ends only the waiting.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None: as long as it takes.
        progress
            Show one bar that counts the SCFs of all.

        Raises
        ------
        TimeoutError
            Some go on.
        """
        await wait_all(await self.jobs(status=("queued", "started")), timeout, progress=progress)

    async def results(self) -> dict[str, AnyResult | BareResult | ZPEError]:
        """Return the result of each job by name, oldest first; in place of one that is missing, why it is.

        Of several jobs with the same name it is the newest that counts.
        """
        return {name: result for name, (_, result) in (await self._outcomes()).items()}

    async def table(self, *, temperature: float | None = None) -> DataFrame:
        """Return the results as a pandas table, one job per row; see :func:`zpe_sdk.as_table`.

        Parameters
        ----------
        temperature
            Of the entropy and free energies, in K; default: that of each result.
        """
        results = await self.results()
        from zpe_sdk.result.tables import as_table

        return await asyncio.to_thread(as_table, results, temperature=temperature)

    async def export(self, file: Path | str) -> Path:
        """Write inputs, results and where they come from into one archive (zip).

        :func:`zpe_sdk.read_archive` reads it.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InputError
            ``file_unwritable``.
        """
        from zpe_sdk.client.archive import Entry, write_archive

        entries = []
        for name, (job, result) in (await self._outcomes()).items():
            outcome = None if isinstance(result, ZPEError) else result
            entries.append(Entry(name, await job.detail(), outcome))
        return await asyncio.to_thread(
            write_archive, Path(file).expanduser(), self.name, str(self._client.url), entries
        )

    async def _outcomes(self) -> dict[str, tuple[AsyncJob[Any], AnyResult | BareResult | ZPEError]]:
        named = (await self.jobs()).by_name()
        together = asyncio.Semaphore(_TOGETHER)

        async def outcome(job: AsyncJob[Any]) -> AnyResult | BareResult | ZPEError:
            async with together:
                try:
                    found: AnyResult | BareResult = await job.result()
                except ZPEError as error:
                    return error
            return found

        oldest_first = list(named)[::-1]
        results = await asyncio.gather(*(outcome(named[name]) for name in oldest_first))
        return {name: (named[name], result) for name, result in zip(oldest_first, results, strict=True)}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} on {self._client.url}>"


def _name(structure: Structure) -> str:
    if is_atoms(structure):
        return str(structure.get_chemical_formula())
    if isinstance(structure, Path) or (isinstance(structure, str) and "\n" not in structure):
        return Path(structure).stem
    raise InputError("give the names of texts: names=", code="bad_request", field="names")


def _check_names(names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"two structures have the name {twice[0]!r}: a project knows its jobs by their names; give "
            "others: names=, or structures by name in a dict",
            code="bad_request",
            field="names",
        )
