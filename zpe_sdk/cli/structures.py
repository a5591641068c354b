"""``zpe relax`` and ``zpe energy``."""

from __future__ import annotations

from typing import Any

import typer

from zpe_sdk.cli import options
from zpe_sdk.cli.context import connected
from zpe_sdk.cli.jobs import Json, given, labels, show


def relax(
    context: typer.Context,
    file: options.File,
    fmax: options.Fmax = None,
    steps: options.Steps = None,
    name: options.Name = None,
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
    wait: options.Wait = False,
    json: Json = False,
) -> None:
    """Relax the atoms of a pw.x input that are not fixed, and print the job's id.

    The cell stays as it is. `zpe result JOB --input -o relaxed.in` writes the relaxed structure as an input,
    `zpe result JOB --csv` the energy and the largest force of each step.

    Example: `zpe relax guess.in --fmax 0.01 --wait`
    """
    with connected(context) as client:
        options_ = _run(environ, use_environ, new, priority, where, tag, cores, memory_gb, pw, engine)
        options_ |= labels(file, name, project, job_tag, note, keep, once)
        show(client.relax(given(file), fmax=fmax, steps=steps, **options_), wait=wait, json=json)


def energy(
    context: typer.Context,
    file: options.File,
    name: options.Name = None,
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
    wait: options.Wait = False,
    json: Json = False,
) -> None:
    """Run a single SCF of a pw.x input (energy, forces, magnetisation) and print the job's id.

    Example: `zpe energy slab.in --wait`
    """
    with connected(context) as client:
        options_ = _run(environ, use_environ, new, priority, where, tag, cores, memory_gb, pw, engine)
        options_ |= labels(file, name, project, job_tag, note, keep, once)
        show(client.energy(given(file), **options_), wait=wait, json=json)


def _run(
    environ: options.Environ,
    use_environ: bool,
    new: bool,
    priority: int,
    where: str | None,
    tag: options.Tags,
    cores: options.Cores,
    memory_gb: options.MemoryGb,
    pw: options.Pw,
    engine: options.Engine,
) -> dict[str, Any]:
    """Return where and how to run, as the client has it."""
    return {
        "environ": environ,
        "use_environ": use_environ,
        "calc_mode": "new" if new else "continue",
        "priority": priority,
        "where": where,
        "requires": {"tags": tag or [], "cores": cores, "memory_gb": memory_gb, "pw": pw},
        "engine": engine,
    }
