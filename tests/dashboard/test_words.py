"""Every text of the dashboard has its Japanese."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path
from typing import get_args

import zpe_dashboard
from zpe_dashboard.words import Words, japanese, language_of
from zpe_sdk.wire import JobState, WorkerState

FOLDER = Path(zpe_dashboard.__file__).parent


def _texts() -> set[str]:
    """Return what the code hands to a :class:`Words`, by whatever name, and what the plain pages do."""
    pages = [page.read_text() for page in FOLDER.glob("assets/*.html")]
    found = {text for page in pages for text in re.findall(r'words\("([^"]+)"', page)}
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name in ("w", "words", "_words"):
                    found.add(str(node.args[0].value))
    return found


def test_every_text_is_translated_and_no_translation_is_left_over() -> None:
    texts = _texts()
    assert len(texts) > 150
    states = {*get_args(JobState), *get_args(WorkerState), "open", "held", "done"}
    kinds = {"vibration", "translation", "rotation"}
    pages = {"Overview", "Jobs", "Workers", "Leases", "Dead letters", "Tokens", "Audit trail"}
    assert set(japanese()) == texts | states | kinds | pages


def test_translations_keep_the_places_of_values() -> None:
    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for english, text in japanese().items():
        assert places(english) == places(text), english


def test_words_take_values() -> None:
    assert Words("en")("{n} jobs", n=3) == "3 jobs"
    assert Words("en")("{n} jobs", n=1) == "1 job"
    assert Words("ja")("{n} jobs", n=1) == "1件のジョブ"
    assert Words("ja")("{n} jobs", n=3) == "3件のジョブ"


def test_the_browser_decides_the_language_until_somebody_else_does() -> None:
    assert language_of(None, "ja,en;q=0.8") == "ja"
    assert language_of(None, "de") == "en"
    assert language_of("en", "ja") == "en"
