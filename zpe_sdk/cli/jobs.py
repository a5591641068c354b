"""``zpe submit``, ``status``, ``wait``, ``result`` and ``cancel``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zpe_sdk.cli import options
from zpe_sdk.cli.context import Connection
from zpe_sdk.cli.output import as_json, moment, table, write
from zpe_sdk.client.progress import relaxing
from zpe_sdk.errors import ComputeError, InputError
from zpe_sdk.plain import escaped, plain
from zpe_sdk.wire import JobOrder, JobState

if TYPE_CHECKING:
    from zpe_sdk.client.job import Job
    from zpe_sdk.wire import JobStatus

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id that `zpe submit` printed.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``zpe``."""
    for command in (submit, status, wait, result, cancel):
        app.command()(command)


def submit(
    context: typer.Context,
    file: options.File,
    relax: Annotated[
        bool,
        typer.Option("--relax", help="Relax the atoms that are not fixed first, in the cell as it is."),
    ] = False,
    fmax: options.Fmax = None,
    steps: options.Steps = None,
    mobile: Annotated[
        list[str] | None,
        typer.Option(
            help="Atoms that vibrate: 0-based indices (`0,1,4-7`) or symbols (`H`). [default: all not fixed]"
        ),
    ] = None,
    name: options.Name = None,
    delta: Annotated[float | None, typer.Option(help="Displacement in Å.")] = None,
    low_cut: Annotated[
        float | None, typer.Option(help="Exclude modes below this from the ZPE, in cm⁻¹.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="In K, for the entropy.")] = None,
    symmetry: Annotated[bool, typer.Option(help="Use symmetry to run fewer SCFs.")] = True,
    allow_state_changes: Annotated[
        bool,
        typer.Option(
            "--allow-state-changes",
            help="Finish with a warning where SCFs end in different electronic states, instead of failing.",
        ),
    ] = False,
    environ: options.Environ = None,
    use_environ: options.UseEnviron = False,
    new: options.New = False,
    priority: options.Priority = 0,
    where: options.Where = None,
    tag: options.Tags = None,
    cores: options.Cores = None,
    memory_gb: options.MemoryGb = None,
    pw: options.Pw = None,
    engine: options.Engine = None,
    verify: Annotated[
        float,
        typer.Option(help="Compute this share of the SCFs (0 to 1) on two workers, and compare."),
    ] = 0.0,
    wait: options.Wait = False,
) -> None:
    """Submit a pw.x input for its vibrations and print the job's id.

    Vibrations need a relaxed structure: `--relax` relaxes it first.

    Example: `zpe submit guess.in --relax --wait`
    """
    if (fmax is not None or steps is not None) and not relax:
        raise typer.BadParameter("--fmax and --steps need --relax")
    connection: Connection = context.obj
    with connection.client() as client:
        job = client.submit(
            given(file),
            relax={"fmax": fmax, "steps": steps} if relax else False,
            mobile=_mobile(mobile or []),
            name=name,
            delta=delta,
            low_cut_cm=low_cut,
            temperature=temperature,
            symmetry=symmetry,
            allow_state_changes=allow_state_changes,
            use_environ=use_environ,
            environ=environ,
            calc_mode="new" if new else "continue",
            priority=priority,
            where=where,
            requires={"tags": tag or [], "cores": cores, "memory_gb": memory_gb, "pw": pw},
            engine=engine,
            verify=verify,
        )
        show(job, wait=wait)


def given(file: Path) -> Path | str:
    """Return a file, or the text that standard input has for ``-``."""
    return sys.stdin.read() if str(file) == "-" else file


def show(job: Job[Any], *, wait: bool) -> None:
    """Print the id of a job that was submitted; or wait for it, and print its summary."""
    for warning in job.warnings:
        print(f"zpe: warning: {plain(warning)}", file=sys.stderr)
    if not wait:
        print(job.id)
        return
    print(f"job {job.id}", file=sys.stderr)
    _wait(job, None)
    write(job.summary(), None)


def status(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job's id; without it: all.")] = None,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    search: Annotated[str | None, typer.Option(help="Only jobs with this in name, formula or id.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only this owner's jobs.")] = None,
    order: Annotated[JobOrder, typer.Option(help="Which jobs come first, by time of submission.")] = "newest",
    limit: Annotated[int, typer.Option(min=1, help="How many jobs.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="How many to skip first.")] = 0,
    json: Json = False,
) -> None:
    """Show where a job stands, or list jobs.

    Example: `zpe status --state failed --order oldest`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        if job is not None:
            found = client.job(job).status()
            as_json(found) if json else table(("", ""), _card(found))
            return
        jobs = client.jobs(status=state, search=search, owner=owner, order=order, limit=limit, offset=offset)
        listed = [job.last_status for job in jobs if job.last_status is not None]
    if json:
        as_json(listed)
    else:
        table(("JOB", "STATUS", "SCFS", "FORMULA", "NAME", "OWNER", "SUBMITTED"), map(_row, listed))


def wait(
    context: typer.Context,
    job: JobId,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most.")] = None,
) -> None:
    """Wait until a job is over; status 1 if it failed or was cancelled.

    Example: `zpe wait JOB && zpe result JOB`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        _wait(client.job(job), timeout)


def result(
    context: typer.Context,
    job: JobId,
    summary: Annotated[bool, typer.Option("--summary", help="The summary (the default).")] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="The frequencies, or the steps of a relaxation, as CSV.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The whole result as JSON.")] = False,
    pw_input: Annotated[
        bool, typer.Option("--input", help="The pw.x input, with the relaxed positions if there are any.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """Print the result of a finished job, or write it to a file.

    Example: `zpe result JOB --csv -o freqs.csv`
    """
    if summary + csv + json + pw_input > 1:
        raise typer.BadParameter("choose one of --summary, --csv, --json and --input")
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.job(job)
        if json:
            text = escaped(found.result().to_json())
        elif pw_input:
            document = found.result().document
            if not hasattr(document, "pw_input"):
                raise ComputeError(
                    "the worker that computed this sent no input", code="result_incomplete", field="pw_input"
                )
            text = document.pw_input
        else:
            text = found.freqs_csv() if csv else found.summary()
    write(text, output)


def cancel(context: typer.Context, job: JobId) -> None:
    """Cancel a job; workers stop its SCFs.

    Example: `zpe cancel JOB`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        print(client.job(job).cancel().status)


def _wait(job: Job[Any], timeout: float | None) -> None:
    try:
        job.wait(timeout, progress=sys.stderr.isatty())
    except KeyboardInterrupt:
        print(f"zpe: job {job.id} goes on; `zpe wait {job.id}` waits for it", file=sys.stderr)
        raise typer.Exit(130) from None


def _mobile(given: list[str]) -> list[int] | list[str] | None:
    """Read ``0,1,4-7`` or ``H,O``."""
    words = [word for item in given for word in item.replace(",", " ").split()]
    if not words:
        return None
    if all(word.isalpha() for word in words):
        return words
    try:
        ranges = [(word.split("-") * 2)[:2] for word in words]
        numbers = [(int(first), int(last)) for first, last in ranges]
    except ValueError:
        raise InputError(
            f"{plain(' '.join(words))!r} is neither indices such as 0,1,4-7 nor symbols such as H",
            code="bad_mobile_indices",
            field="--mobile",
        ) from None
    for first, last in numbers:
        if first > last:
            raise InputError(
                f"the range {first}-{last} runs backwards", code="bad_mobile_indices", field="--mobile"
            )
    return [i for first, last in numbers for i in range(first, last + 1)]


def _row(job: JobStatus) -> tuple[str | None, ...]:
    done = f"{job.progress.done}/{job.progress.total}"
    return (job.job_id, job.status, done, job.formula, job.name, job.owner, moment(job.created_at))


def _card(job: JobStatus) -> list[tuple[str, str | None]]:
    error = job.error and f"{job.error.message} [{job.error.side}/{job.error.code}]"
    rows = [
        ("job", job.job_id),
        ("name", job.name),
        ("formula", job.formula),
        ("engine", "MOCK: springs in place of pw.x, no physics" if job.engine == "mock" else job.engine),
        ("kind", job.kind),
        ("status", job.status),
        ("stage", relaxing(job)),
        ("detail", job.detail),
        ("error", error),
        ("SCFs", f"{job.progress.done} of {job.progress.total}, {job.progress.running} running"),
        ("workers", ", ".join(job.workers)),
        ("submitted", moment(job.created_at)),
        ("started", moment(job.started_at)),
        ("finished", moment(job.finished_at)),
    ]
    return [(name, value) for name, value in rows if value]
