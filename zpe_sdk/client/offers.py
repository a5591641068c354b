"""Pseudopotential files that the workers have: what a researcher without a folder of them chooses from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.pseudopotentials import Pseudopotential, best_of, from_headers, unnamed
from zpe_sdk.wire import Machine


@dataclass(frozen=True)
class Offer(Pseudopotential):
    """A pseudopotential file, and the machines that have it.

    Attributes
    ----------
    machines
        Their names.
    """

    machines: tuple[str, ...] = ()


def offers(machines: Iterable[Machine], symbols: Iterable[str]) -> dict[str, list[Offer]]:
    """Return by element which files there are, those first that most machines have.

    Raises
    ------
    InputError
        ``bad_structure``: there is none for an element.
    """
    found: dict[str, dict[str, Offer]] = {symbol: {} for symbol in symbols}
    for machine in machines:
        for file in _files(machine):
            if file.symbol in found:
                known = found[file.symbol].get(file.file)
                names = (*(known.machines if known else ()), machine.name)
                found[file.symbol][file.file] = Offer(**vars(file), machines=names)
    if absent := [symbol for symbol, files in found.items() if not files]:
        raise InputError(
            f"no machine that takes work tells of a pseudopotential of {', '.join(absent)}",
            code="bad_structure",
            field="pseudopotentials",
        )
    return {
        symbol: sorted(files.values(), key=lambda offer: (-len(offer.machines), not offer.usual, offer.file))
        for symbol, files in found.items()
    }


def choose_offered(
    machines: Sequence[Machine], symbols: set[str], named: Mapping[str, str] | None = None
) -> dict[str, Pseudopotential]:
    """Read the files that are named, and choose one for each other element, all from one machine.

    It is the choice of :func:`zpe_sdk.espresso.pseudopotentials.best_of` that most machines can run.

    Raises
    ------
    InputError
        ``bad_structure``: no machine has files for all.
    """
    named = named or {}
    by_name = {file.file: file for machine in machines for file in _files(machine)}
    files = {symbol: by_name[named[symbol]] for symbol in symbols & set(named) if named[symbol] in by_name}
    wanted = symbols - set(named)
    if not wanted:
        return files
    if not by_name:
        there = any(machine.takes_work for machine in machines)
        raise unnamed(
            wanted, "no worker says which files it has" if there else "no worker takes your jobs at present"
        )
    choices: list[dict[str, Pseudopotential]] = []
    for machine in machines:
        mine = _files(machine)
        if set(named.values()) <= {file.file for file in mine} | (set(named.values()) - set(by_name)):
            try:
                choices.append(best_of(mine, wanted, where=machine.name))
            except InputError:
                continue
    if not choices:
        raise InputError(
            f"no machine that takes work has a PBE pseudopotential of {', '.join(sorted(wanted))}: give "
            "pseudopotentials= (client.pseudopotentials([…]) shows what there is)",
            code="bad_structure",
            field="pseudopotentials",
        )

    def runs(choice: Mapping[str, Pseudopotential]) -> int:
        needed = {file.file for file in choice.values()}
        return sum(needed <= set(machine.pseudopotentials or ()) for machine in machines)

    return files | max(choices, key=runs)


def _files(machine: Machine) -> list[Pseudopotential]:
    if not machine.takes_work:
        return []
    return from_headers({name: h for name, h in (machine.pseudopotentials or {}).items() if h})
