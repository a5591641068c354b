"""A project: jobs that belong together, each with a name of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from zpe_sdk.client.async_client import ManyOptions, SubmitOptions
from zpe_sdk.client.async_project import AsyncProject
from zpe_sdk.client.blocking import run
from zpe_sdk.client.job import Job, wait_all
from zpe_sdk.client.listing import Listing
from zpe_sdk.client.submission import Structure
from zpe_sdk.errors import ZPEError
from zpe_sdk.wire import JobKind, JobState

if TYPE_CHECKING:
    from pandas import DataFrame

    from zpe_sdk.client.blocking_client import ZPEClient
    from zpe_sdk.result.bare import BareResult
    from zpe_sdk.result.kinds import AnyResult
    from zpe_sdk.result.result import ZPEResult


class Project:
    """A project of yours: jobs that belong together. Get one from ``client.project("its name")``.

    It knows its jobs by their names, so that what is run again makes none twice.

    Examples
    --------
    >>> screening = client.project("screening")
    >>> screening.submit_many({"water": water, "ammonia": ammonia}, ecutwfc=40)
    >>> screening.wait()
    >>> screening.table()
    """

    def __init__(self, client: ZPEClient, project: AsyncProject) -> None:
        self._client = client
        self._async = project

    @property
    def name(self) -> str:
        """Its name."""
        return self._async.name

    # Written by scripts/write_blocking.py from async_project.py: do not edit.

    def submit(
        self, structure: Structure, name: str | None = None, **options: Unpack[SubmitOptions]
    ) -> Job[ZPEResult]:
        """Submit a vibrational calculation, once: if the project has it by this name, return that job.

        Parameters
        ----------
        structure
            As for :meth:`ZPEClient.submit`.
        name
            The job's name; default: that of the file, or the formula of the Atoms.
        **options
            As for :meth:`ZPEClient.submit`.

        Raises
        ------
        InputError
            As there; ``name_taken``: the project has another job of this name.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return self._client._told([run(self._async.submit(structure, name, **options))])[0]

    def submit_many(
        self,
        /,
        structures: Mapping[str, Structure] | Iterable[Structure],
        *,
        names: Iterable[str] | None = None,
        kind: JobKind = "vibrations",
        **options: Unpack[ManyOptions],
    ) -> list[Job[Any]]:
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
            As for :meth:`ZPEClient.submit_many`.

        Raises
        ------
        InputError
            As there; ``name_taken``: the project has another job of this name; ``bad_request``: two
            structures have the same name, or one has none.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return self._client._told(run(self._async.submit_many(structures, names=names, kind=kind, **options)))

    def jobs(
        self,
        *,
        status: JobState | Iterable[JobState] | None = None,
        tags: Iterable[str] = (),
        limit: int | None = None,
    ) -> Listing[Job[Any]]:
        """Return the jobs of the project, the newest first; see :meth:`ZPEClient.jobs`."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.jobs(status=status, tags=tags, limit=limit)).each(Job)

    def results(self) -> dict[str, AnyResult | BareResult | ZPEError]:
        """Return the result of each job by name, oldest first; in place of one that is missing, why it is.

        Of several jobs with the same name it is the newest that counts.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.results())

    def table(self, *, temperature: float | None = None) -> DataFrame:
        """Return the results as a pandas table, one job per row; see :func:`zpe_sdk.as_table`.

        Parameters
        ----------
        temperature
            Of the entropy and free energies, in K; default: that of each result.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.table(temperature=temperature))

    def export(self, file: Path | str) -> Path:
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
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.export(file))

    # End of what is written.

    def wait(self, timeout: float | None = None, *, progress: bool = True) -> None:
        """Wait until no job of the project goes on, however they end; an interrupt ends only the waiting.

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
        # Not AsyncProject.wait: a notebook's bar belongs to the thread of its cell.
        wait_all(self.jobs(status=("queued", "started")), timeout, progress=progress)

    def __repr__(self) -> str:
        return f"<Project {self.name!r} on {self._client.url}>"
