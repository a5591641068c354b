"""The result of each kind of job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zpe_sdk.errors import ComputeError
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.structure import EnergyResult, RelaxationResult

AnyResult = ZPEResult | EnergyResult | RelaxationResult


def read_result(result: Mapping[str, Any]) -> AnyResult:
    """Return the result that a document holds; its ``kind`` says which, vibrations if it has none.

    Raises
    ------
    ComputeError
        ``result_incomplete``.
    """
    match result.get("kind", "vibrations"):
        case "vibrations":
            return ZPEResult.from_dict(result)
        case "energy":
            return EnergyResult.from_dict(result)
        case "relax":
            return RelaxationResult.from_dict(result)
    raise ComputeError(
        f"the result is of the kind {result['kind']!r}, which this version of zpe does not know: update it",
        code="result_incomplete",
        field="kind",
    )
