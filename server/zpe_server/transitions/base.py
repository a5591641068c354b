"""What all transitions have in common: how they are asked, and how Lua answers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Never, TypeAlias, TypeVar

Reply = TypeVar("Reply")
T = TypeVar("T")

# Lua does not tell an empty list from an empty object.
Listed: TypeAlias = list[T] | dict[Never, Never]


def items(value: Listed[T] | None) -> list[T]:
    """Return a list of a transition's reply, which may be empty or missing."""
    return value if isinstance(value, list) else []


class Transition(Generic[Reply]):
    """The request for one transition, answered by a ``Reply``.

    Its name is that of the script: ``FinishFailed`` runs ``lua/finish_failed.lua``, which reads each field as
    ``a.<field>``. A field that is None is left out, so it is nil there.

    Attributes
    ----------
    script
        File name in ``lua/`` without its ending.
    texts
        Large fields, handed over as they are: ``ARGV[2]`` and so on. A list counts as many.
    """

    script: ClassVar[str]
    texts: ClassVar[Sequence[str]]

    def __init_subclass__(cls, *, texts: Sequence[str] = ()) -> None:
        cls.script = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        cls.texts = texts

    def argv(self) -> list[str]:
        """Return the arguments of the script."""
        small, texts = _given(self), list[str]()
        for name in self.texts:
            text = small.pop(name)
            texts += [text] if isinstance(text, str) else text
        return [_encode(small), *texts]


def _given(request: object) -> dict[str, Any]:
    return {name: value for name, value in vars(request).items() if value is not None}


_encode = json.JSONEncoder(default=_given).encode
