"""Each code that an error can have is in the one table, and the page of errors is made from it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from zpe_sdk.codes import CODES, errors_page, status_of
from zpe_sdk.errors import BY_SIDE

ROOT = Path(__file__).parents[2]
CLASSES = {cls.__name__: side for side, cls in BY_SIDE.items()}


def used() -> Iterator[tuple[str, str | None]]:
    """Yield each code in the sources, and the side where the class of the error stands beside it."""
    for folder in ("zpe_sdk", "server", "dashboard"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = node.func.id if isinstance(node.func, ast.Name) else ""
                    for keyword in node.keywords:
                        code = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                        if keyword.arg in ("code", "error_code") and isinstance(code, str):
                            yield code, CLASSES.get(name)
                    # The functions of a module that make its errors take the code as their third argument.
                    if name == "_error" and len(node.args) > 2 and isinstance(node.args[2], ast.Constant):
                        yield str(node.args[2].value), None
                elif isinstance(node, ast.FunctionDef):
                    named = zip(node.args.args[::-1], node.args.defaults[::-1], strict=False)
                    yield from (
                        (default.value, None)
                        for argument, default in named
                        if argument.arg == "code"
                        and isinstance(default, ast.Constant)
                        and isinstance(default.value, str)
                    )


def test_every_code_is_in_the_table_with_its_side() -> None:
    found = list(used())
    assert len({code for code, _ in found}) > 90
    assert {code for code, _ in found} - set(CODES) == set()
    assert [(code, side) for code, side in found if side and side not in CODES[code].sides] == []


def test_the_page_of_errors_is_made_from_the_table() -> None:
    assert (ROOT / "docs" / "errors.md").read_text() == errors_page()


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_says_what_to_do_in_a_sentence(code: str) -> None:
    remedy = CODES[code].remedy
    assert remedy[0].isupper()
    assert remedy.endswith((".", "…"))
    assert 400 <= status_of(code, CODES[code].sides[0]) <= 503
