"""Documents of results, read from what the control plane or a file has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ase.data import atomic_numbers
from pydantic import BaseModel, ValidationError

from zpe_sdk.errors import ComputeError, InputError
from zpe_sdk.wire import BareDocument, ZPEResultDocument

D = TypeVar("D", bound=BaseModel)
R = TypeVar("R")


def validated(model: type[D], result: Mapping[str, Any]) -> D:
    """Return the document that a result is.

    Raises
    ------
    ComputeError
        ``result_incomplete``: it lacks fields, e.g. because an old worker made it, or has wrong ones.
    """
    try:
        document = model.model_validate(result)
    except ValidationError as error:
        fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}) or [
            "result"
        ]
    else:
        fields = [name for name, is_right in _fitting(document) if not is_right]
        if not fields:
            return document
    raise ComputeError(
        f"the result lacks or misstates {', '.join(fields)}; its summary and CSV can still be had",
        code="result_incomplete",
        field=fields[0],
    )


def _fitting(document: BaseModel) -> Iterator[tuple[str, bool]]:
    """Yield the name of each field that must fit the others, and whether it does."""
    d: Any = document
    if isinstance(document, BareDocument):  # of whose atoms nothing is known
        return
    nat = len(d.symbols)
    yield "symbols", all(symbol in atomic_numbers for symbol in d.symbols)
    yield "positions", len(d.positions) == nat
    yield "cell", len(d.cell) == 3
    if not isinstance(d, ZPEResultDocument):
        yield "forces_ev_ang", len(d.forces_ev_ang) == nat
        yield "free", len(d.free) == nat
        return
    mobile = len(d.mobile_indices)
    in_range = all(0 <= index < nat for index in d.mobile_indices)
    yield "mobile_indices", in_range and len(set(d.mobile_indices)) == mobile
    yield "masses", len(d.masses) == mobile and all(mass > 0 for mass in d.masses)
    yield "freqs_cm", len(d.freqs_cm) == 3 * mobile
    yield "mode_kinds", len(d.mode_kinds) == 3 * mobile
    yield "modes", len(d.modes) == 3 * mobile and all(len(mode) == mobile for mode in d.modes)
    yield "hessian", len(d.hessian) == 3 * mobile and all(len(row) == 3 * mobile for row in d.hessian)
    for name, count in (("born_charges", mobile), ("ir_intensities_km_mol", 3 * mobile)):
        yield name, getattr(d, name) is None or len(getattr(d, name)) == count


def from_text(read: Callable[[Any], R], text: str | bytes) -> R:
    """Read the JSON of a result.

    Raises
    ------
    InputError
        ``bad_json``, or ``result_incomplete``: it is JSON, but not all of a result.
    """
    try:
        return read(json.loads(text))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"give the JSON of a result, as a text: {error}", code="bad_json", field="text"
        ) from None
    except ComputeError as error:
        # Here no worker is at fault but what was read.
        raise InputError(error.message, code=error.code, field="text") from None
