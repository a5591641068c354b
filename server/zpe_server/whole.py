"""Checks the result that a worker sends for a whole job, before it becomes the job's own.

How the worker came to it, nobody can see. What can be seen is whether it is a result of this job: the
numbers that make one are there, they are finite, as many as the job has modes, and the zero-point energy is
one that these frequencies can have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ase.units import invcm

from zpe_sdk.errors import InputError

# Beyond any vibration of atoms.
_HIGHEST_CM = 1e5
# Of the zero-point energy: rounded frequencies and constants of another year.
_LOOSE = 0.01
_LOOSE_EV = 1e-3
# Motions of a free atom, pair or larger body as a whole, which a worker may count or not.
_WHOLE = {1: 3, 2: 5}
_WHOLE_OF_MORE = 6
# Settings of the job that the result repeats, if it does.
_REPEATED = ("delta", "low_cut_cm", "temperature")


def check_whole_result(result: Mapping[str, Any], job: Mapping[str, str]) -> None:
    """Raise unless a document is a result of this job.

    Workers that settle whole jobs have counted modes in several ways, so the zero-point energy is held
    against two bounds: half the sum of the modes above the job's cutoff (all atoms mobile: without as many of
    the lowest as may be motions of the whole), and half the sum of all modes, imaginary ones taken as real;
    with 1 % and 1 meV to spare.

    Parameters
    ----------
    result
        The document that the worker sent.
    job
        The job's record.

    Raises
    ------
    InputError
        ``result_malformed``, with the field that is missing or wrong.
    """
    payload = json.loads(job["payload"])
    mobile = sorted(payload["mobile_indices"])
    given = result.get("mobile_indices")
    if (
        not isinstance(given, list)
        or any(type(index) is not int for index in given)
        or sorted(given) != mobile
    ):
        raise _malformed("mobile_indices", f"must be those of the job, {mobile}")
    modes = _numbers(result, "freqs_cm", 3 * len(mobile))
    if any(abs(cm) > _HIGHEST_CM for cm in modes):
        raise _malformed("freqs_cm", f"no mode lies beyond {_HIGHEST_CM:g} cm⁻¹")
    zpe = _number(result, "zpe_ev")
    if _number(result, "s_vib_jmol_k") < 0:
        raise _malformed("s_vib_jmol_k", "no entropy is negative")
    for name in _REPEATED:
        if name in result and not math.isclose(_number(result, name), payload[name], rel_tol=1e-6):
            raise _malformed(name, f"the job has {payload[name]:g}")
    whole = _WHOLE.get(len(mobile), _WHOLE_OF_MORE) if len(mobile) == int(job["nat"]) else 0
    _check_zpe(zpe, modes, payload["low_cut_cm"], whole)
    _check_origin(result.get("fingerprint"), job)


def _check_zpe(zpe: float, modes: list[float], low_cut_cm: float, whole: int) -> None:
    above = sorted(cm for cm in modes if cm > low_cut_cm)
    # Those below the cutoff are motions of the whole first.
    left_out = max(0, whole - (len(modes) - len(above)))
    lowest = 0.5 * float(invcm) * sum(above[left_out:])
    highest = 0.5 * float(invcm) * sum(abs(cm) for cm in modes)
    if not lowest * (1 - _LOOSE) - _LOOSE_EV <= zpe <= highest * (1 + _LOOSE) + _LOOSE_EV:
        raise _malformed(
            "zpe_ev",
            f"is {zpe:g} eV, and half the sum of the modes between {lowest:.4f} and {highest:.4f} eV",
        )


def _check_origin(fingerprint: object, job: Mapping[str, str]) -> None:
    """Raise if the result says itself that it is of something else; old workers say nothing."""
    if not isinstance(fingerprint, dict):
        return
    engine = json.loads(job.get("needs") or "{}").get("engine")
    if engine and fingerprint.get("engine") != engine:
        raise _malformed(
            "fingerprint", f"the job is for {engine}, the result is from {fingerprint.get('engine')}"
        )
    if "physics" in job and fingerprint.get("physics") != job["physics"]:
        raise _malformed("fingerprint", "its physics are not those of the job's input")


def _number(result: Mapping[str, Any], name: str) -> float:
    [value] = _numbers({name: [result.get(name)]}, name, 1)
    return value


def _numbers(result: Mapping[str, Any], name: str, count: int) -> list[float]:
    values = result.get(name)
    if not isinstance(values, list) or len(values) != count:
        raise _malformed(name, f"must be a list of {count} numbers")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise _malformed(name, "must be a number" if count == 1 else "must hold numbers alone")
    try:
        return [float(value) for value in values]
    except OverflowError:
        raise _malformed(name, "is larger than any number that is computed with") from None


def _malformed(name: str, why: str) -> InputError:
    return InputError(
        f"this is no result of the job: {name} {why}", code="result_malformed", field=f"result.{name}"
    )
