"""The result of each kind of job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zpe_sdk.errors import ComputeError
from zpe_sdk.result.bare import BareResult
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.structure import EnergyResult, RelaxationResult

AnyResult = ZPEResult | EnergyResult | RelaxationResult


def read_result(result: Mapping[str, Any]) -> AnyResult | BareResult:
    """Return the result that a document holds; its ``kind`` says which, vibrations if it has none.

    Of a worker that sent frequencies and ZPE alone it is a :class:`BareResult`, which says what is missing.

    Raises
    ------
    ComputeError
        ``result_incomplete``.
    """
    match result.get("kind", "vibrations"):
        case "vibrations":
            whole = not BareResult.missing_in(result)
            return ZPEResult.from_dict(result) if whole else BareResult.from_dict(result)
        case "energy":
            return EnergyResult.from_dict(result)
        case "relax":
            return RelaxationResult.from_dict(result)
    raise ComputeError(
        f"the result is of the kind {result['kind']!r}, which this version of zpe does not know: update it",
        code="result_incomplete",
        field="kind",
    )
