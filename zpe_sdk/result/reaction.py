"""Reactions of species that are computed, and what has to agree in how they were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from zpe_sdk.errors import InputError
from zpe_sdk.result.differences import differences
from zpe_sdk.result.free_energy import ELECTRON, HYDROGEN, PROTON, Reaction
from zpe_sdk.result.kinds import AnyResult
from zpe_sdk.result.models import ModelName, SpeciesModel, model_of
from zpe_sdk.result.result import ZPEResult

# Coefficients such as 1/3 add up to zero within this.
_BALANCED = 1e-6
# What the hydrogen electrode stands for, and its atoms.
_ELECTRODE: dict[str, list[str]] = {PROTON: ["H"], ELECTRON: []}


def reaction(
    coefficients: Mapping[str, float],
    results: Mapping[str, AnyResult],
    *,
    models: Mapping[str, SpeciesModel | ModelName] | None = None,
    allow_differences: bool = False,
) -> Reaction:
    """Return a reaction, of which free energies can be asked for.

    Parameters
    ----------
    coefficients
        By species; negative: consumed. ``{"H*": 1, "*": -1, "H2": -0.5}``. ``"H+"`` and ``"e-"``, always as
        many of one as of the other, are those of the computational hydrogen electrode; it needs the result of
        ``"H2"``.
    results
        Of each species: vibrations, or the energy alone (``client.energy``, ``client.relax``) of what has
        none that count, such as a clean surface that is held in place.
    models
        By species; default: an ideal gas for a free molecule, harmonic for other vibrations, electronic for
        what has none. See :mod:`zpe_sdk.result.models`.
    allow_differences
        Warn, and do not refuse, where species were computed in different ways.

    Raises
    ------
    InputError
        ``bad_reaction``: a species has no result, or the atoms do not add up; ``not_comparable``: the message
        says what differs in how the species were computed; ``bad_model``.

    Examples
    --------
    >>> adsorption = zpe_sdk.reaction({"H*": 1, "*": -1, "H2": -0.5}, {"H*": hydrogen, "*": slab, "H2": gas})
    >>> adsorption.at(300, 1e5).dg
    """
    used = {name: float(c) for name, c in coefficients.items() if c}
    needed = set(used) - {PROTON, ELECTRON}
    if ELECTRON in used or PROTON in used:
        if abs(used.get(PROTON, 0.0) - used.get(ELECTRON, 0.0)) > _BALANCED:
            raise _bad("the hydrogen electrode gives as many H+ as e-; these coefficients differ")
        needed.add(HYDROGEN)
    if absent := needed - set(results):
        raise _bad(f"there is no result of {', '.join(sorted(absent))}", "results")
    species = {name: results[name] for name in results if name in needed}
    given = models or {}
    if unknown := set(given) - set(species):
        raise _bad(f"no species is {', '.join(sorted(unknown))}", "models")
    _check_atoms(used, species)
    chosen = {name: model_of(name, result, given.get(name)) for name, result in species.items()}
    told = differences({name: result.document for name, result in species.items()})
    if told and not allow_differences:
        raise InputError(
            f"the species were computed in different ways: {'; '.join(told)}",
            code="not_comparable",
            field="results",
        )
    warnings = [*told, *_uncancelled(used, species)]
    warnings += [f"{name}: {told}" for name, result in species.items() for told in result.document.warnings]
    return Reaction(used, species, chosen, warnings)


def _check_atoms(coefficients: Mapping[str, float], results: Mapping[str, AnyResult]) -> None:
    atoms: dict[str, float] = defaultdict(float)
    for name, coefficient in coefficients.items():
        for symbol in _ELECTRODE[name] if name in _ELECTRODE else results[name].document.symbols:
            atoms[symbol] += coefficient
    left = {symbol: count for symbol, count in atoms.items() if abs(count) > _BALANCED}
    if left:
        named = ", ".join(f"{count:+g} {symbol}" for symbol, count in sorted(left.items()))
        raise _bad(f"the atoms do not add up: {named} in products less reactants")


def _uncancelled(coefficients: Mapping[str, float], results: Mapping[str, AnyResult]) -> list[str]:
    """Warn of vibrations that one side of the reaction has and the other has not."""
    moving: dict[str, float] = defaultdict(float)
    for name, result in results.items():
        if isinstance(result, ZPEResult):
            for atom in result.document.mobile_indices:
                moving[result.document.symbols[atom]] += coefficients.get(name, 0.0)
    # A proton is half of a hydrogen molecule.
    moving["H"] += coefficients.get(PROTON, 0.0)
    left = [symbol for symbol, count in moving.items() if abs(count) > _BALANCED]
    if not left:
        return []
    return [
        f"vibrations of {', '.join(sorted(left))} do not cancel: more of these atoms are mobile on one "
        "side of the reaction than on the other"
    ]


def _bad(message: str, field: str = "coefficients") -> InputError:
    return InputError(message, code="bad_reaction", field=field)
