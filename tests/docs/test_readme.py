"""Translations have the commands and examples of the English pages; links of all pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


TRANSLATED = {"README.md": "README.ja.md", "docs/tutorial.md": "docs/tutorial.ja.md"}


def blocks(page: Path) -> list[str]:
    """Return the code of a page, without its comments."""
    found = re.findall(r"^```.*?^```$", page.read_text(), flags=re.M | re.S)
    return [re.sub(r" *# .*$", "", block, flags=re.M) for block in found]


@pytest.mark.parametrize("page", TRANSLATED)
def test_the_translation_has_the_same_commands_and_sections(page: str) -> None:
    english, japanese = ROOT / page, ROOT / TRANSLATED[page]
    assert blocks(japanese) == blocks(english)
    count = [len(re.findall(r"^#+ ", page.read_text(), flags=re.M)) for page in (english, japanese)]
    assert count[0] == count[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert [target for target in local if not (page.parent / target).exists()] == []
