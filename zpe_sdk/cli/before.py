"""``zpe plan`` and ``zpe pseudopotentials``: what to know before a submission."""

from __future__ import annotations

import json as json_
from dataclasses import asdict
from typing import Annotated

import typer

from zpe_sdk.cli import options
from zpe_sdk.cli.context import connected
from zpe_sdk.cli.jobs import Json, given
from zpe_sdk.cli.output import as_json, table
from zpe_sdk.plain import plain
from zpe_sdk.wire import JobKind


def plan(
    context: typer.Context,
    file: options.File,
    kind: Annotated[JobKind, typer.Option(help="What would be computed.")] = "vibrations",
    relax: Annotated[bool, typer.Option("--relax", help="As of `zpe submit`.")] = False,
    symmetry: Annotated[bool, typer.Option(help="As of `zpe submit`.")] = True,
    pw: options.Pw = None,
    where: options.Where = None,
    tag: options.Tags = None,
    engine: options.Engine = None,
    json: Json = False,
) -> None:
    """Say what a job would take (SCFs, symmetry, time) and what seems to be wrong; nothing is submitted.

    Example: `zpe plan slab.in`
    """
    with connected(context) as client:
        found = client.plan(
            given(file),
            kind=kind,
            relax=relax,
            symmetry=symmetry,
            where=where,
            requires={"pw": pw, "tags": tag or []},
            engine=engine,
        )
    if json:
        as_json(found)
    else:
        for line in found.summary().splitlines():
            print(plain(line))


def pseudopotentials(
    context: typer.Context,
    symbols: Annotated[list[str], typer.Argument(metavar="ELEMENT...", help="Chemical symbols.")],
    json: Json = False,
) -> None:
    """List the pseudopotential files that machines have for elements, with the cutoffs they suggest.

    Example: `zpe pseudopotentials H O`
    """
    with connected(context) as client:
        found = client.pseudopotentials(symbols)
    if json:
        listed = {symbol: [asdict(offer) for offer in files] for symbol, files in found.items()}
        print(json_.dumps(listed, indent=2, ensure_ascii=False))
        return
    rows = [
        (
            symbol,
            offer.file,
            offer.kind,
            f"{offer.ecutwfc:g}" if offer.ecutwfc else None,
            f"{offer.ecutrho:g}" if offer.ecutrho else None,
            "yes" if offer.usual else None,
            ", ".join(offer.machines),
        )
        for symbol, files in found.items()
        for offer in files
    ]
    table(("ELEMENT", "FILE", "KIND", "ECUTWFC", "ECUTRHO", "PBE", "MACHINES"), rows)
