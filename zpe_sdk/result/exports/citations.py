"""What to cite for a result, as BibTeX."""

from __future__ import annotations

import re

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.data import ResultData
from zpe_sdk.version import __version__

_ENTRIES = {
    "giannozzi2009": (
        "article",
        {
            "author": "Giannozzi, Paolo and others",
            "title": "{QUANTUM ESPRESSO}: a modular and open-source software project for quantum simulations "
            "of materials",
            "journal": "Journal of Physics: Condensed Matter",
            "volume": "21",
            "pages": "395502",
            "year": "2009",
            "doi": "10.1088/0953-8984/21/39/395502",
        },
    ),
    "giannozzi2017": (
        "article",
        {
            "author": "Giannozzi, Paolo and others",
            "title": "Advanced capabilities for materials modelling with {Quantum ESPRESSO}",
            "journal": "Journal of Physics: Condensed Matter",
            "volume": "29",
            "pages": "465901",
            "year": "2017",
            "doi": "10.1088/1361-648X/aa8f79",
        },
    ),
    "larsen2017": (
        "article",
        {
            "author": "Larsen, Ask Hjorth and others",
            "title": "The atomic simulation environment: a {Python} library for working with atoms",
            "journal": "Journal of Physics: Condensed Matter",
            "volume": "29",
            "pages": "273002",
            "year": "2017",
            "doi": "10.1088/1361-648X/aa680e",
        },
    ),
    "togo2024": (
        "article",
        {
            "author": "Togo, Atsushi and Shinohara, Kohei and Tanaka, Isao",
            "title": "Spglib: a software library for crystal symmetry search",
            "journal": "Science and Technology of Advanced Materials: Methods",
            "volume": "4",
            "pages": "2384822",
            "year": "2024",
            "doi": "10.1080/27660400.2024.2384822",
        },
    ),
    "pbe1996": (
        "article",
        {
            "author": "Perdew, John P. and Burke, Kieron and Ernzerhof, Matthias",
            "title": "Generalized Gradient Approximation Made Simple",
            "journal": "Physical Review Letters",
            "volume": "77",
            "pages": "3865--3868",
            "year": "1996",
            "doi": "10.1103/PhysRevLett.77.3865",
        },
    ),
    "pbesol2008": (
        "article",
        {
            "author": "Perdew, John P. and others",
            "title": "Restoring the Density-Gradient Expansion for Exchange in Solids and Surfaces",
            "journal": "Physical Review Letters",
            "volume": "100",
            "pages": "136406",
            "year": "2008",
            "doi": "10.1103/PhysRevLett.100.136406",
        },
    ),
    "pz1981": (
        "article",
        {
            "author": "Perdew, J. P. and Zunger, Alex",
            "title": "Self-interaction correction to density-functional approximations for many-electron "
            "systems",
            "journal": "Physical Review B",
            "volume": "23",
            "pages": "5048--5079",
            "year": "1981",
            "doi": "10.1103/PhysRevB.23.5048",
        },
    ),
    "d3": (
        "article",
        {
            "author": "Grimme, Stefan and Antony, Jens and Ehrlich, Stephan and Krieg, Helge",
            "title": "A consistent and accurate ab initio parametrization of density functional dispersion "
            "correction ({DFT-D}) for the 94 elements {H-Pu}",
            "journal": "The Journal of Chemical Physics",
            "volume": "132",
            "pages": "154104",
            "year": "2010",
            "doi": "10.1063/1.3382344",
        },
    ),
}
# By the names that files of pseudopotentials have by custom, and by those of input_dft.
_FUNCTIONALS = {"pbesol": "pbesol2008", "pbe": "pbe1996", "pz": "pz1981"}
_DISPERSION = {"dft-d3": "d3", "grimme-d3": "d3"}


def bibtex(result: ResultData) -> str:
    """Return what the calculation used, as far as it is known here: program, functional, libraries.

    The functional is that of ``input_dft``, or the one that the names of the pseudopotentials tell; one
    that is not known here is named in a comment.
    """
    document = result.document
    system = PwInput.parse(document.pw_input).namelists["system"] if document.pw_input else {}
    keys, comments = [], []
    if document.fingerprint.engine == "espresso":
        keys += ["giannozzi2009", "giannozzi2017"]
        given = str(system.get("input_dft", "")).strip().lower()
        functional = given or _of_files(list(document.fingerprint.pseudopotentials))
        if functional in _FUNCTIONALS:
            keys.append(_FUNCTIONALS[functional])
        else:
            comments.append(f"% Cite the functional too: {given or 'that of the pseudopotentials'}.")
        dispersion = str(system.get("vdw_corr", "none")).strip().lower()
        if dispersion in _DISPERSION:
            keys.append(_DISPERSION[dispersion])
        elif dispersion not in ("none", ""):
            comments.append(f"% Cite the dispersion correction too: {dispersion}.")
        files = ", ".join(sorted(document.fingerprint.pseudopotentials))
        comments.append(f"% Cite the pseudopotentials as their library asks for: {files}.")
    else:
        comments.append("% Springs in place of quantum mechanics: nothing to publish.")
    keys += ["larsen2017", *(["togo2024"] if document.symmetry.get("order", 1) > 1 else [])]
    ours = {"author": "{The ZPE developers}", "title": "{ZPE}", "version": __version__, "year": "2026"}
    return "\n".join([*comments, *(_entry(key, *_ENTRIES[key]) for key in keys), _entry("zpe", "misc", ours)])


def _of_files(names: list[str]) -> str:
    """Return the functional that all names of files tell, as in ``O.pbe-kjpaw.UPF``; empty if they do not."""
    found = set()
    for name in names:
        words = re.split(r"[.\-_]", name.lower())
        found.add(next((known for known in _FUNCTIONALS if known in words), ""))
    return found.pop() if len(found) == 1 else ""


def _entry(key: str, kind: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])
