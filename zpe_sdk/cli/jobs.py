"""``zpe submit``, ``status``, ``wait``, ``result`` and ``cancel``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zpe_sdk.cli import options
from zpe_sdk.cli.context import connected
from zpe_sdk.cli.output import as_json, moment, table, write
from zpe_sdk.client.progress import relaxing
from zpe_sdk.errors import ComputeError, InputError
from zpe_sdk.plain import escaped, plain

if TYPE_CHECKING:
    from zpe_sdk.client.job import Job
    from zpe_sdk.wire import JobStatus

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id that `zpe submit` printed.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
    project: options.Project = None,
    job_tag: options.JobTags = None,
    note: options.Note = None,
    keep: options.Keep = False,
    once: options.Once = False,
    verify: Annotated[
        float,
        typer.Option(help="Compute this share of the SCFs (0 to 1) on two workers, and compare."),
    ] = 0.0,
    wait: options.Wait = False,
    json: Json = False,
) -> None:
    """Submit a pw.x input for its vibrations and print the job's id.

    Vibrations need a relaxed structure: `--relax` relaxes it first.

    Example: `zpe submit guess.in --relax --wait`
    """
    if (fmax is not None or steps is not None) and not relax:
        raise typer.BadParameter("--fmax and --steps need --relax")
    with connected(context) as client:
        job = client.submit(
            given(file),
            relax={"fmax": fmax, "steps": steps} if relax else False,
            mobile=_mobile(mobile or []),
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
            **labels(file, name, project, job_tag, note, keep, once),
        )
        show(job, wait=wait, json=json)


def given(file: Path) -> Path | str:
    """Return a file, or the text that standard input has for ``-``."""
    return sys.stdin.read() if str(file) == "-" else file


def labels(
    file: Path,
    name: str | None,
    project: str | None,
    tags: list[str] | None,
    note: str | None,
    keep: bool,
    once: bool,
) -> dict[str, Any]:
    """Return what is written on a job, as the client has it; in a project, files name their jobs."""
    if name is None and project and str(file) != "-":
        name = file.stem
    return {"name": name, "project": project, "tags": tags or (), "note": note, "keep": keep, "once": once}


def show(job: Job[Any], *, wait: bool, json: bool) -> None:
    """Print the id of a job that was submitted; or wait for it, and print its summary."""
    for warning in job.warnings:
        print(f"zpe: warning: {plain(warning)}", file=sys.stderr)
    if wait:
        print(f"job {job.id}", file=sys.stderr)
        _wait([job], None)
        job.raise_for_status()
    if json:
        as_json(job.status())
    elif wait:
        write(job.summary(), None)
    else:
        print(job.id)


def status(context: typer.Context, job: JobId, json: Json = False) -> None:
    """Show where a job stands; `zpe jobs` lists all.

    Example: `zpe status JOB`
    """
    with connected(context) as client:
        found = client.job(job).status()
    as_json(found) if json else table(("", ""), _card(found))


def wait(
    context: typer.Context,
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="The ids that `zpe submit` printed.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="All jobs of this project.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most.")] = None,
    json: Json = False,
) -> None:
    """Wait until jobs are over; status 1 if one failed or was cancelled, 3 if some go on after --timeout.

    Example: `zpe wait JOB && zpe result JOB`
    """
    if bool(jobs) == (project is not None):
        raise typer.BadParameter("name either jobs or a --project")
    with connected(context) as client:
        found = (
            list(client.jobs(project=project).by_name().values())
            if project
            else [client.job(job) for job in jobs or ()]
        )
        _wait(found, timeout)
        over = [job.last_status or job.status() for job in found]
        if json:
            as_json(over)
        if len(found) == 1 and not project:
            found[0].raise_for_status()
    for job_ in over:
        if job_.status != "finished":
            named = f"{job_.job_id} ({job_.name})" if job_.name else job_.job_id
            why = job_.error.message if job_.error else job_.detail
            print(plain(f"zpe: job {named} is {job_.status}: {why or ''}"), file=sys.stderr)
    if any(job_.status != "finished" for job_ in over):
        raise typer.Exit(1)


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
    with connected(context) as client:
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


def cancel(
    context: typer.Context,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="The ids that `zpe submit` printed."),
    ] = None,
    state: options.OfState = None,
    project: options.OfProject = None,
    job_tag: options.OfTags = None,
    since: options.Since = None,
    until: options.Until = None,
    search: options.Search = None,
    owner: options.OfOwner = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which jobs these are, and do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Cancel jobs, by id, or those chosen as by `zpe jobs` that are not over; workers stop their SCFs.

    Example: `zpe cancel --project screening --state queued --dry-run`
    """
    chosen: dict[str, Any] = {
        "status": options.states(state),
        "project": project,
        "tags": job_tag,
        "since": since,
        "until": until,
        "search": search,
        "owner": owner,
    }
    if jobs and (dry_run or any(chosen.values())):
        raise InputError("give jobs by id, or say which", code="bad_choice", field="JOB")
    with connected(context) as client:
        if jobs:
            found = [client.job(job).cancel() for job in jobs]
            if json:
                as_json(found[0] if len(found) == 1 else found)
            else:
                print("\n".join(status.status for status in found))
            return
        given = {name: value for name, value in chosen.items() if value}
        reply = client.cancel_jobs(**given, dry_run=dry_run)
    if json:
        as_json(reply)
        return
    print("\n".join(reply.jobs) if dry_run else f"{len(reply.jobs)} cancelled")
    if reply.total > len(reply.jobs):
        print(f"zpe: of {reply.total}; again for more", file=sys.stderr)


def _wait(jobs: Sequence[Job[Any]], timeout: float | None) -> None:
    from zpe_sdk.client.job import wait_all

    try:
        wait_all(jobs, timeout, progress=sys.stderr.isatty())
    except KeyboardInterrupt:
        named = f"job {jobs[0].id} goes" if len(jobs) == 1 else f"{len(jobs)} jobs go"
        print(f"zpe: {named} on; `zpe wait` waits again", file=sys.stderr)
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


def _card(job: JobStatus) -> list[tuple[str, str | None]]:
    error = job.error and f"{job.error.message} [{job.error.side}/{job.error.code}]"
    rows = [
        ("job", job.job_id),
        ("name", job.name),
        ("formula", job.formula),
        ("project", job.project),
        ("tags", ", ".join(job.tags)),
        ("note", job.note),
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
        ("forgotten", "never" if job.keep else moment(job.expires_at)),
    ]
    return [(name, value) for name, value in rows if value]
