"""The client of the control plane for scripts and notebooks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from zpe_sdk.client.admin import Admin
from zpe_sdk.client.async_client import AsyncZPEClient, remade
from zpe_sdk.client.async_job import AsyncJob
from zpe_sdk.client.blocking import blocking, in_notebook, run
from zpe_sdk.client.embedded import EMBEDDED_FOLDER, Engine
from zpe_sdk.client.job import Job, as_completed


def _told(jobs: Iterable[AsyncJob]) -> list[Job]:
    """Tell, in the thread of the caller and once for each client, what was chosen for jobs."""
    told = list(jobs)
    for job in told:
        if job.choices and job.choices not in job._client._told:
            job._client._told.add(job.choices)
            # Standard output is the caller's, but a notebook shows standard error as if something had failed.
            print(f"Chosen: {job.choices}", file=sys.stdout if in_notebook() else sys.stderr)
    return [Job(job) for job in told]


class ZPEClient:
    """A client for scripts and notebooks: the calls of :class:`AsyncZPEClient`, blocking.

    It works as well where an event loop is running already, and may be shared by threads. Parameters and
    errors are those of :class:`AsyncZPEClient`.

    Attributes
    ----------
    admin
        The calls of administrators, see :class:`zpe_sdk.client.admin.Admin`.

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
        self.admin = Admin(self._async.admin)

    @classmethod
    def embedded(
        cls,
        folder: Path | str = EMBEDDED_FOLDER,
        *,
        engine: Engine = "qe",
        pseudo_dir: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a control plane, its Redis and a worker on this machine, and return a client of them.

        Stopped by :meth:`close`, at the end of a ``with`` block, or with this process; see
        :meth:`AsyncZPEClient.embedded`.
        """
        client = cls.__new__(cls)
        client._async = run(
            AsyncZPEClient.embedded(folder, engine=engine, pseudo_dir=pseudo_dir, settings=settings)
        )
        client.admin = Admin(client._async.admin)
        return client

    @property
    def url(self) -> httpx.URL:
        """The base URL of the control plane."""
        return self._async.url

    submit = blocking(AsyncZPEClient.submit, lambda job: _told([job])[0])
    submit_many = blocking(AsyncZPEClient.submit_many, _told)
    parse = blocking(AsyncZPEClient.parse)
    jobs = blocking(AsyncZPEClient.jobs, lambda jobs: [Job(job) for job in jobs])
    close = blocking(AsyncZPEClient.aclose)

    def job(self, job_id: str) -> Job:
        """Return the job of an id, without asking the control plane yet."""
        return Job(self._async.job(job_id))

    as_completed = staticmethod(as_completed)

    def __reduce__(self) -> tuple[Any, ...]:
        return (remade, (type(self), self._async._options))

    def __repr__(self) -> str:
        return f"<ZPEClient {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
