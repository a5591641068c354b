"""Puts the Lua of a transition together: in front of it, what it needs."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import takewhile

LUA = files("zpe_server") / "lua"
_NEEDS = "-- needs: "


@cache
def source(name: str, folder: Traversable = LUA) -> str:
    """Return a transition's script, after all parts that it and these need, each once.

    Parameters
    ----------
    name
        Of a file in ``folder``, without its ending. Its head names the files of ``shared/`` that it needs,
        in a line such as ``-- needs: keys, line``; these may need others.
    folder
        Where the scripts are.

    Raises
    ------
    LookupError
        A script or part is not there, or parts need one another.
    """
    parts: dict[str, str] = {}

    def add(file: str, *above: str) -> None:
        if file in above:
            raise LookupError(f"parts of scripts need one another: {' > '.join((*above, file))}")
        try:
            text = (folder / f"{file}.lua").read_text(encoding="utf-8")
        except FileNotFoundError:
            needed = f", which {above[-1]}.lua needs" if above else ""
            raise LookupError(f"there is no {file}.lua{needed}") from None
        for part in needs(text):
            if f"shared/{part}" not in parts:
                add(f"shared/{part}", *above, file)
        parts[file] = text

    add(name)
    return "\n".join(parts.values())


def needs(text: str) -> list[str]:
    """Return the parts that the head of a script names."""
    head = takewhile(lambda line: line.startswith("--"), text.splitlines())
    lines = (line.removeprefix(_NEEDS) for line in head if line.startswith(_NEEDS))
    return [part for line in lines for part in line.split(", ")]
