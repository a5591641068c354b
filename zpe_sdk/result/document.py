"""Documents of results, read from what the control plane or a file has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from zpe_sdk.errors import ComputeError, InputError

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
        return model.model_validate(result)
    except ValidationError as error:
        fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}) or [
            "result"
        ]
        raise ComputeError(
            f"the result lacks or misstates {', '.join(fields)}; its summary and CSV can still be had",
            code="result_incomplete",
            field=fields[0],
        ) from None


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
