"""Versions of programs, such as ``"6.7MaX"``, and conditions on them, such as ``">=7.1,<7.4"``."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable

Numbers = tuple[int, ...]
Bound = tuple[str, Numbers]

_HOLDS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq}
_BOUND = re.compile(r"\s*(>=|<=|==|>|<)\s*(\d{1,4}(?:\.\d{1,4}){0,3})\s*", re.A)
_WORDS = {">=": "{} or newer", ">": "newer than {}", "<=": "{} or older", "<": "older than {}", "==": "{}"}


def numbers(version: str | None) -> Numbers:
    """Return the numbers of a version, without zeros at the end; none if it tells none.

    Letters behind them do not count: ``"6.7MaX"`` is 6.7.
    """
    found = re.match(r"[\d.]*", version or "", re.A)
    parts = [int(part) for part in re.findall(r"\d+", found[0] if found else "", re.A)]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def bounds(condition: str) -> list[Bound]:
    """Return the parts of a condition: each a comparison and the numbers of a version.

    Raises
    ------
    ValueError
        It is none.
    """
    found = [_BOUND.fullmatch(part) for part in condition.split(",")]
    if not all(found):
        raise ValueError(f"{condition[:60]!r} is no condition on a version, such as '>=7.1' or '>=6.7,<7.3'")
    return [(part[1], numbers(part[2])) for part in found if part]


def check_condition(condition: str) -> str:
    """Return a condition as it is.

    Raises
    ------
    ValueError
        It is malformed, or no version can fulfil it.
    """
    bounds(condition)
    if not can_hold([condition]):
        raise ValueError(f"no version is {in_words(condition)}")
    return condition


def fits(version: str | None, condition: str) -> bool:
    """Tell whether a version fulfils a condition; one that tells no number may be any."""
    return not numbers(version) or _fits(numbers(version), bounds(condition))


def can_hold(conditions: Iterable[str]) -> bool:
    """Tell whether one version could fulfil several conditions at once."""
    wanted = [bound for condition in conditions for bound in bounds(condition)]
    # Between two bounds nothing changes: it is enough to look at each, and right above and below it.
    candidates: list[Numbers] = [(0, 1), (10**6,)]
    for _, at in wanted:
        below = (*at[:-1], at[-1] - 1, 10**6) if at else ()
        candidates += [at, (*at, 0, 0, 0, 1), below]
    return any(_fits(candidate, wanted) for candidate in candidates)


def in_words(condition: str) -> str:
    """Return a condition as people say it: ``"7.1 or newer"``."""
    parts = [_BOUND.fullmatch(part) for part in condition.split(",")]
    return " and ".join(_WORDS[part[1]].format(part[2]) for part in parts if part)


def _fits(version: Numbers, wanted: Iterable[Bound]) -> bool:
    return all(_HOLDS[comparison](version, other) for comparison, other in wanted)
