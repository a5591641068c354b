"""The gallery shows what the notebooks draw now."""

from __future__ import annotations

import re

from scripts.gallery import FOLDER, ROOT, pictures


def test_the_gallery_shows_the_pictures_that_are_in_the_notebooks() -> None:
    drawn = dict(pictures())
    kept = {path.name: path.read_bytes() for path in FOLDER.glob("0*.png")}
    assert kept == drawn, "run python -m scripts.gallery"
    shown = set(re.findall(r"\(gallery/(\S+?)\)", (ROOT / "docs/gallery.md").read_text()))
    assert shown == {path.name for path in FOLDER.iterdir()}


def test_the_day_in_pictures_shows_those_that_are_there() -> None:
    docs = ROOT / "docs"
    shown = set(re.findall(r"\(dashboard/(\S+?)\)", (docs / "administrators-day.md").read_text()))
    assert shown == {path.name for path in (docs / "dashboard").iterdir()}
