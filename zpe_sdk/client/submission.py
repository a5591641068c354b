"""From what a researcher has in hand (Atoms, a file, a text) to the request that submits it."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from zpe_sdk.errors import InputError

# To import the client, neither ASE nor NumPy is needed.
if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from zpe_sdk.espresso.pseudopotentials import Choose

Structure: TypeAlias = "Atoms | Path | str"
Chosen: TypeAlias = "str | Sequence[int] | Sequence[bool] | Sequence[str] | NDArray[Any]"
Mobile: TypeAlias = "Chosen | Callable[[Atoms], Chosen]"

_KINDS = "whole numbers, booleans or chemical symbols"


def is_atoms(value: object) -> TypeGuard[Atoms]:
    """Tell whether a value is ASE Atoms; if ASE was not imported yet, nothing is."""
    ase = sys.modules.get("ase")
    return ase is not None and isinstance(value, ase.Atoms)


def input_text(
    structure: Structure, choose: Choose | None = None, **rendering: Any
) -> tuple[str, dict[str, Any]]:
    """Return the text of a pw.x input, and what was chosen because nobody said it.

    Parameters
    ----------
    structure
        ASE Atoms; a file (a string of one line names one); or the text itself.
    choose
        Chooses those pseudopotentials of Atoms that are not given; None: all must be.
    **rendering
        For Atoms only: see :func:`zpe_sdk.espresso.render.render_input`.

    Raises
    ------
    InputError
        ``bad_structure``, ``file_missing``, ``file_unreadable``, ``empty_input``, ``binary_input`` or
        ``no_pw_input``; ``not_for_a_text``: an option of ``rendering`` is given with an input that already
        says it.
    """
    given = {name: value for name, value in rendering.items() if value is not None}
    if is_atoms(structure):
        from zpe_sdk.espresso.pseudopotentials import defaults
        from zpe_sdk.espresso.render import by_namelist, render_input

        namelists = given["input_data"] = by_namelist(given.get("input_data", {}))
        chosen = defaults(structure, choose, given)
        system = {**namelists.get("system", {}), **chosen.get("input_data", {}).get("system", {})}
        options = {**given, **chosen, "input_data": {**namelists, "system": system}}
        if "pseudopotentials" in chosen:
            options["pseudopotentials"] = {**given.get("pseudopotentials", {}), **chosen["pseudopotentials"]}
        return str(render_input(structure, **options)), chosen
    if not isinstance(structure, str | Path):
        raise InputError(
            f"give ASE Atoms, a pw.x input file or its text, not {type(structure).__name__}",
            code="bad_structure",
            field="structure",
        )
    if given:
        name = next(iter(given))
        raise InputError(
            f"{name} is for ASE Atoms; a pw.x input says it itself", code="not_for_a_text", field=name
        )
    if isinstance(structure, str) and (not structure.strip() or "\n" in structure):
        return _checked(structure, "structure"), {}
    text = _read(Path(structure), field="structure", what="not a pw.x input")
    return _checked(text, str(structure)), {}


def environ_text(environ: Path | str | None) -> str | None:
    """Return the text of an Environ input.

    Parameters
    ----------
    environ
        A file (a string of one line without ``&`` names one), or the text itself.

    Raises
    ------
    InputError
        ``file_missing``, ``file_unreadable``, ``empty_input``, ``binary_input``, or what
        :meth:`zpe_sdk.espresso.environ.EnvironInput.parse` finds wrong with it.
    """
    if environ is None:
        return None
    is_file = isinstance(environ, Path) or (environ.strip() and not set("\n&") & set(environ))
    text = _read(Path(environ), field="environ", what="not an Environ input") if is_file else str(environ)
    from zpe_sdk.espresso.environ import EnvironInput

    EnvironInput.parse(text)
    return text


def mobile_indices(mobile: Mobile | None, text: str, atoms: Atoms | None = None) -> list[int] | None:
    """Return the indices of the atoms that are to vibrate.

    Parameters
    ----------
    mobile
        0-based indices (negative ones count from the end), a mask of booleans, one or several chemical
        symbols (those of their atoms that are not fixed), a function of the ASE Atoms that returns one of
        these, or None: the input's own choice.
    text
        The pw.x input.
    atoms
        The Atoms it was made from, if it was: they may carry tags that a function asks for.

    Raises
    ------
    InputError
        ``bad_mobile_indices``, or what :meth:`PwInput.parse` finds wrong with the input.
    """
    if mobile is None:
        return None
    import numpy as np

    from zpe_sdk.espresso.input import PwInput

    pw_input = PwInput.parse(text)
    symbols = pw_input.symbols
    if callable(mobile):
        from ase import Atoms

        read = Atoms(symbols, pw_input.positions, cell=pw_input.cell, pbc=True)
        mobile = mobile(read if atoms is None else atoms)
    try:
        items: list[Any] = [mobile] if isinstance(mobile, str) else list(mobile)
        given = np.asarray(items)
    except (TypeError, ValueError):
        raise _bad_mobile(f"give a list of {_KINDS}, not {mobile!r}") from None
    if items and all(isinstance(item, str) for item in items):
        wanted = set(items)
        if absent := wanted - set(symbols):
            raise _bad_mobile(f"the structure has no atom of {', '.join(sorted(absent))}")
        fixed = set(pw_input.fixed_indices)
        chosen = [i for i, symbol in enumerate(symbols) if symbol in wanted and i not in fixed]
    else:
        chosen = _from_numbers(given, len(symbols))
    return list(pw_input.mobile(chosen))


def _from_numbers(given: NDArray[Any], nat: int) -> list[int]:
    if given.ndim != 1 or (given.size and given.dtype.kind not in "biu"):
        raise _bad_mobile(f"give a list of {_KINDS}")
    if given.dtype.kind == "b":
        if given.size != nat:
            raise _bad_mobile(f"the mask has {given.size} entries for {nat} atoms")
        return [int(i) for i in given.nonzero()[0]]
    if outside := [int(i) for i in given if not -nat <= i < nat]:
        raise _bad_mobile(
            f"indices run from 0 to {nat - 1}, or from the end as -1 to -{nat}, given: {outside}"
        )
    return [int(i) % nat for i in given]


def _bad_mobile(message: str) -> InputError:
    return InputError(message, code="bad_mobile_indices", field="mobile_indices")


def _read(path: Path, *, field: str, what: str) -> str:
    try:
        content = path.expanduser().read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", code="file_missing", field=field) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", code="file_unreadable", field=field
        ) from error
    # pw.x reads bytes. What is not ASCII stands in comments and titles, in UTF-8 or in one of the older
    # encodings, which differ only in what a comment then looks like.
    for encoding in ("utf-8-sig", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode(encoding)
    raise InputError(
        f"{path} is not a text file, and {what}",
        code="binary_input",
        field="content" if field == "structure" else field,
    )


def _checked(text: str, what: str) -> str:
    if not text.strip():
        raise InputError(f"{what} is empty", code="empty_input", field="content")
    if "\0" in text:
        raise InputError(f"{what} is binary, not a pw.x input", code="binary_input", field="content")
    if not re.search(r"[&$]system\b", text, re.IGNORECASE):
        raise InputError(
            f"{what} is not a pw.x input: it has no &SYSTEM; read structures in other formats with "
            "ase.io.read, and submit the Atoms",
            code="no_pw_input",
            field="content",
        )
    return text
