"""Options that several commands share: those that submit a job, and those that choose jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias, get_args

import typer

from zpe_sdk.wire import EngineName, JobState

File: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE", help="A pw.x input; `-` reads standard input.")
]
Name: TypeAlias = Annotated[
    str | None, typer.Option(help="Your name for the job. [default: in a project, that of the file]")
]
Fmax: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Relax until no atom feels a larger force, in eV/Å. [default: 0.0026 for each component]"
    ),
]
Steps: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Largest number of steps of the relaxation. [default: 100, or the input's nstep]"),
]
Environ: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Run with Environ (implicit solvent) and this environ.in."),
]
UseEnviron: TypeAlias = Annotated[
    bool, typer.Option("--use-environ", help="Run with Environ and the machine's own environ.in.")
]
New: TypeAlias = Annotated[bool, typer.Option("--new", help="Reuse no SCFs of earlier jobs.")]
Priority: TypeAlias = Annotated[
    int, typer.Option(help="From -100 to 100; higher ones first, above 0 among your own.")
]
Where: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="`mine`, `any`, a worker's name or id, or a group. [default: as `zpe workers select` has it]"
    ),
]
Tags: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Only on machines with this tag; may be given again.")
]
Cores: TypeAlias = Annotated[int | None, typer.Option(help="Only on machines with at least so many cores.")]
MemoryGb: TypeAlias = Annotated[
    float | None, typer.Option(help="Only on machines with at least so much memory.")
]
Pw: TypeAlias = Annotated[
    str | None, typer.Option(help="Only with these versions of pw.x: `>=7.1` or `>=6.7,<7.3`.")
]
Engine: TypeAlias = Annotated[
    EngineName | None,
    typer.Option(help="pw.x, or springs in its place (mock). [default: set by the control plane]"),
]
Wait: TypeAlias = Annotated[bool, typer.Option("--wait", help="Wait for it and print its summary.")]
Project: TypeAlias = Annotated[str | None, typer.Option(help="The project that the job belongs to.")]
JobTags: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="A word to find the job by; may be given again.")
]
Note: TypeAlias = Annotated[str | None, typer.Option(help="A text to keep with the job.")]
Keep: TypeAlias = Annotated[bool, typer.Option("--keep", help="Keep the job and its result for good.")]
Once: TypeAlias = Annotated[
    bool, typer.Option("--once", help="If the project has this job by its name already, show that one.")
]

STATES = get_args(JobState)


def states(given: list[str] | None) -> list[JobState] | None:
    """Return the states that were given with ``--state``."""
    for state in given or ():
        if state not in STATES:
            raise typer.BadParameter(f"{state!r}: give {', '.join(STATES)}")
    return given  # type: ignore[return-value]


OfState: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--state", help=f"Only jobs in this state ({', '.join(STATES)}); may be given again."),
]
OfProject: TypeAlias = Annotated[str | None, typer.Option("--project", help="Only jobs of this project.")]
OfTags: TypeAlias = Annotated[
    list[str] | None, typer.Option("--job-tag", help="Only jobs with this tag; may be given again.")
]
Since: TypeAlias = Annotated[
    str | None, typer.Option(help="Only jobs submitted then or later: `2026-03-31`, `2026-03-31T18:00`.")
]
Until: TypeAlias = Annotated[str | None, typer.Option(help="Only jobs submitted before.")]
Search: TypeAlias = Annotated[str | None, typer.Option(help="Only jobs with this in name, formula or id.")]
OfOwner: TypeAlias = Annotated[str | None, typer.Option("--owner", help="Only this owner's jobs.")]

Label: TypeAlias = Annotated[str | None, typer.Option(help="A note on its purpose.")]
Ttl: TypeAlias = Annotated[int | None, typer.Option("--ttl", min=1, help="Seconds until it expires.")]
SecretFile: TypeAlias = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write it to this file, which only you may read.")
]
