"""Numbers as pw.x reads them in ATOMIC_POSITIONS: ``1/3``, ``0.5-0.01``, ``2*(1/3)^2``.

pw.x has a small calculator of its own for them (UtilXlib/eval_infix.c). Its precedences are the usual ones:
``^`` binds from the right and before a sign in front of it (-2^2 is -4), then ``*`` and ``/``, then ``+`` and
``-``, both from the left.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

# pw.x keeps a number in 54 characters, and at most 100 operators and operands.
_TOKEN = re.compile(r"(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eEdD][+-]?\d+)?)|(?P<operator>[-+*/^()])", re.A)
_LONGEST_NUMBER, _MOST_TOKENS = 50, 90

_BINARY: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": math.pow,
}
_MINUS, _PLUS = "unary -", "unary +"
# How strongly an operator binds what stands before it, when it comes, and what follows it, once it waits.
_COMING = {"+": 1, "-": 1, "*": 3, "/": 3, "^": 6}
_WAITING = {"(": 0, "+": 2, "-": 2, "*": 4, "/": 4, "^": 5, _MINUS: 5, _PLUS: 5}


def evaluate(text: str) -> float | None:
    """Return the value of an expression without blanks, or None where pw.x finds none.

    None also for a sign ``+`` that no other operator follows, such as ``+0.5``: pw.x cannot read it.
    """
    try:
        value = _evaluate(text)
    except (ValueError, IndexError, ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _evaluate(text: str) -> float:
    values: list[float] = []
    waiting: list[str] = []
    after_value = False
    for token, is_number in _tokens(text):
        if is_number:
            values.append(float(re.sub("[dD]", "e", token)))
        elif token == "(" or (token in "+-" and not after_value):
            waiting.append({"+": _PLUS, "-": _MINUS}.get(token, token))
        elif token == ")":
            while waiting[-1] != "(":
                _apply(waiting.pop(), values)
            waiting.pop()
        else:
            while waiting and _WAITING[waiting[-1]] >= _COMING[token]:
                last = waiting.pop()
                if last != _PLUS:
                    _apply(last, values)
            waiting.append(token)
        after_value = is_number or token == ")"
    while waiting:
        _apply(waiting.pop(), values)
    (value,) = values
    return value


def _tokens(text: str) -> list[tuple[str, bool]]:
    tokens: list[tuple[str, bool]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or len(match[0]) > _LONGEST_NUMBER or len(tokens) == _MOST_TOKENS:
            raise ValueError(text)
        tokens.append((match[0], match["number"] is not None))
        position = match.end()
    return tokens


def _apply(name: str, values: list[float]) -> None:
    right = values.pop()
    if name == _MINUS:
        values.append(-right)
    else:
        if name not in _BINARY:  # an open bracket, or a + that pw.x gives no value
            raise ValueError(name)
        values.append(_BINARY[name](values.pop(), right))
