"""The words of the dashboard in English and Japanese. English is the key; ``assets/ja.json`` has the rest."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Language = Literal["en", "ja"]


@cache
def japanese() -> dict[str, str]:
    """Return the Japanese text for each English one."""
    text = files("zpe_dashboard").joinpath("assets/ja.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text)
    return found


# What English says of one; Japanese says it as of many.
_OF_ONE = {
    "Discard {n} jobs?": "Discard {n} job?",
    "from {n} similar SCFs": "from {n} similar SCF",
    "at least {n} cores": "at least {n} core",
    "{n} SCFs at work": "{n} SCF at work",
    "{n} atoms": "{n} atom",
    "{n} attempts": "{n} attempt",
    "{n} cores": "{n} core",
    "{n} jobs": "{n} job",
    "{n} operations": "{n} operation",
    "{n} slots": "{n} slot",
}


class Words:
    """Translates: ``words("{n} jobs", n=3)``. What has no translation stays English."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, english: str, **values: Any) -> str:
        """Return a text in the language of the session."""
        if self.language == "ja":
            text = japanese().get(english, english)
        else:
            text = _OF_ONE.get(english, english) if values.get("n") == 1 else english
        return text.format(**values) if values else text


def language_of(wanted: str | None, accepted: str) -> Language:
    """Return the language that was asked for, or that a browser prefers (``Accept-Language``)."""
    if wanted in ("en", "ja"):
        return "ja" if wanted == "ja" else "en"
    return "ja" if accepted.strip().lower().startswith("ja") else "en"
