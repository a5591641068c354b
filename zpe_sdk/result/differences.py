"""Whether energies of different jobs may be compared: what differs in how they were computed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from zpe_sdk.espresso.input import PwInput, parse
from zpe_sdk.espresso.vacuum import repeating
from zpe_sdk.wire import StructureDocument, ZPEResultDocument

Document = ZPEResultDocument | StructureDocument
# Keys of &SYSTEM that are of the structure or of how it is solved; the rest is physics that has to agree.
_OF_STRUCTURE = (
    "ibrav celldm a b c cosab cosac cosbc nat ntyp nbnd nspin starting_magnetization tot_magnetization "
    "tot_charge starting_charge assume_isolated esm_bc esm_w edir emaxpos eopreg eamp nr1 nr2 nr3 nr1s nr2s "
    "nr3s nosym nosym_evc noinv no_t_rev force_symmorphic use_all_frac uniqueb origin_choice rhombohedral "
    "space_group ecutwfc ecutrho occupations smearing degauss"
)
# A key with one of these is as good as absent.
_OFF = (None, False, 0, "", "none")
# Meshes are whole numbers, and even ones often: distances of k-points may differ by this factor at most.
SPACING = 1.5


def differences(documents: Mapping[str, Document]) -> list[str]:
    """Say what differs in how structures were computed, a sentence for each; none: compare them freely.

    Compared are program, cutoffs, pseudopotential files, the distance of k-points along what repeats, the
    smearing of what is smeared, Environ, and all keys of ``&SYSTEM`` that are not of the structure, those of
    species (``Hubbard_U``) by label. Spin polarisation, charge and occupations may differ: a gas has its own.

    Parameters
    ----------
    documents
        By name.
    """
    told: dict[str, dict[str, str]] = {}
    for name, document in documents.items():
        for what, value in _settings(document).items():
            told.setdefault(what, {})[name] = value
    told |= _keys({name: parse(d.pw_input) for name, d in documents.items() if d.pw_input})
    sentences = [
        f"{what}: " + ", ".join(f"{value} ({name})" for name, value in values.items())
        for what, values in told.items()
        if len(set(values.values())) > 1
    ]
    spacings = {
        name: spacing for name, document in documents.items() if (spacing := _spacing(document)) is not None
    }
    if spacings and max(spacings.values()) > SPACING * min(spacings.values()):
        values = ", ".join(f"{spacing:.2f} Å⁻¹ ({name})" for name, spacing in spacings.items())
        sentences.append(f"distance of k-points: {values}")
    return sentences


def _settings(document: Document) -> dict[str, str]:
    """Return what has to agree with every other document that has it too, in words."""
    d = document
    found = {
        "program": f"{d.fingerprint.engine} {d.fingerprint.engine_version}",
        "ecutwfc": f"{d.ecutwfc or 'as the pseudopotentials suggest'}",
        "ecutrho": f"{d.ecutrho or 'as the pseudopotentials suggest'}",
        "Environ": f"{d.fingerprint.environ or d.use_environ}",
    }
    if not d.pw_input:
        return found
    pw_input = parse(d.pw_input)
    system = pw_input.namelists["system"]
    if system.get("occupations") == "smearing":
        found["smearing"] = f"{system.get('smearing', 'gaussian')} of {system.get('degauss', 0):g} Ry"
    for species in pw_input.species:
        file = species.pseudopotential
        sha256 = d.fingerprint.pseudopotentials.get(file, "")
        found[f"pseudopotential of {species.symbol}"] = f"{file} {sha256[:8]}".strip()
    return found


def _keys(inputs: Mapping[str, PwInput]) -> dict[str, dict[str, str]]:
    """Return the keys of &SYSTEM that are physics, and the value that each input has, given or not.

    Those of a species, the rows of HUBBARD among them, are compared where that species is.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    labels = {name: [species.label for species in given.species] for name, given in inputs.items()}
    for name, pw_input in inputs.items():
        for key, value in pw_input.namelists["system"].items():
            if key.partition("(")[0] in _OF_STRUCTURE.split():
                continue
            by_label = zip(labels[name], value, strict=False) if isinstance(value, list) else [("", value)]
            for label, of_label in by_label:
                if of_label not in _OFF:
                    found.setdefault((key, label), {})[name] = str(of_label)
        for row in pw_input.cards["HUBBARD"].rows if "HUBBARD" in pw_input.cards else ():
            label = row.words[1].partition("-")[0]
            found.setdefault((f"HUBBARD {' '.join(row.words[:-1])}", label), {})[name] = row.words[-1]
    return {
        f"{key} of {label}" if label else key: {
            name: values.get(name, "not set") for name in inputs if not label or label in labels[name]
        }
        for (key, label), values in found.items()
    }


def _spacing(document: Document) -> float | None:
    """Return the widest distance of k-points in Å⁻¹, along what repeats; None: unknown, or nothing does."""
    if document.kpts == (0, 0, 0):
        return None
    repeats = repeating(Atoms(document.symbols, document.positions, cell=document.cell, pbc=True))
    if not repeats.any():
        return None
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(np.array(document.cell)), axis=0)
    return float((reciprocal / np.array(document.kpts))[repeats].max())
