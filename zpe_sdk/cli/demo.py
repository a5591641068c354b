"""``zpe demo``: everything on this machine, from an input to a zero-point energy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zpe_sdk.client.blocking_client import ZPEClient
from zpe_sdk.client.local_service import local_service
from zpe_sdk.errors import InputError
from zpe_sdk.result.result import ZPEResult

SAMPLE = Path("samples/qe-in/h2_zpe.in")


def demo(
    file: Annotated[
        Path, typer.Argument(help="A pw.x input; the default is there in a clone of the project.")
    ] = SAMPLE,
    data_dir: Annotated[Path, typer.Option(help="Folder for jobs, results and logs.")] = Path(
        "zpe-data/demo"
    ),
    mock: Annotated[bool, typer.Option("--mock", help="Use springs in place of pw.x.")] = False,
    pseudo_dir: Annotated[
        Path | None, typer.Option(envvar="ZPE_PSEUDO_DIR", help="Folder of the pseudopotential files.")
    ] = None,
) -> None:
    """Start a control plane and a worker here, run one job, show its result, stop everything.

    Example:  zpe demo samples/qe-in/h2_zpe.in
    """
    if not file.is_file():
        hint = "; the samples are in a clone of the project: name an input of yours" if file == SAMPLE else ""
        raise InputError(f"there is no file {file}{hint}", code="file_missing", field="FILE")
    _say(f"Starting a control plane and a worker; their data and logs are in {data_dir}")
    with local_service(data_dir, engine="mock" if mock else "qe", pseudo_dir=pseudo_dir) as service:
        _say(f"The API is at {service.url} (schema: {service.url}/openapi.json)")
        _say(f"The dashboard is at {service.url}/dashboard; its token is in {service.folder}/admin-token")
        with ZPEClient(service.url, service.token) as client:
            # A demonstration computes: it does not show what an earlier one has left.
            job = client.submit(file, calc_mode="new", name=file.stem)
            _say(f"Job {job.id}")
            job.wait()
            result = job.result()
            print(job.summary())
    if mock:
        _loud(result)
    _say("Everything that was started has been stopped.")


def _loud(result: ZPEResult) -> None:
    _say(f"!!! MOCK: {result.zpe_ev:.4f} eV is that of springs, and no physics: pw.x did not run. !!!")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
