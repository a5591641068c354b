"""The spectrum that says what each line is where the pointer is, in a real browser."""

from __future__ import annotations

import json
from typing import Any

import matplotlib
from playwright.sync_api import Browser, Page

from tests.springs import springs_result
from zpe_sdk.result.hover import HoverPlot

matplotlib.use("agg")


def lines(plot: HoverPlot) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(plot.html.split("const lines = ")[1].split(";\n")[0])
    return found


def shown(page: Page, x: float) -> str:
    """Return what is seen with the pointer at x, in units of the picture; "" if nothing is."""
    box = page.locator("svg").bounding_box()
    assert box is not None
    scale = box["width"] / page.evaluate("picture.viewBox.baseVal.width")
    page.mouse.move(box["x"] + scale * x, box["y"] + box["height"] / 2)
    told = page.locator("output")
    return told.inner_text() if told.is_visible() else ""


def test_the_pointer_is_told_of_the_mode_below_it(chromium: Browser) -> None:
    water = springs_result("H2O")
    plot = water.hover(label="<script>water")
    page = chromium.new_page()
    requests: list[str] = []
    assert repr(plot) == "<HoverPlot: shown by a notebook; .html is a page of its own>"
    page.on("request", lambda request: requests.append(request.url))
    page.set_content(plot.html)
    bend, antisymmetric, symmetric = lines(plot)
    assert bend["x"] > antisymmetric["x"] > symmetric["x"]  # the axis runs down
    text = shown(page, bend["x"] + 4)
    cm, km_mol = water.frequencies_cm[6], water.ir_intensities[6]
    assert text.splitlines()[0].startswith(f"mode 6, {cm:.1f} cm⁻¹, ")
    assert text.splitlines()[0].endswith(f"{km_mol:.1f} km/mol")
    assert text.splitlines()[1].startswith("A1: H–O–H bend")
    assert shown(page, bend["x"] + 60) == ""
    assert requests == []
    page.close()


def test_degenerate_modes_are_told_together_and_all_is_within_the_picture(chromium: Browser) -> None:
    methane = springs_result("CH4").hover(transmission=True, scale=0.9)
    page = chromium.new_page(viewport={"width": 780, "height": 330})
    page.set_content(methane.html)
    counts = set()
    for line in lines(methane):
        text = shown(page, line["x"])
        counts.add((text.count("T2: "), text.count("E: "), text.count("A1: ")))
        box, picture = (page.locator(name).bounding_box() for name in ("output", "svg"))
        assert box is not None
        assert picture is not None
        assert box["x"] >= picture["x"]
        assert box["x"] + box["width"] <= picture["x"] + picture["width"]
    assert counts == {(3, 0, 0), (0, 2, 0), (0, 0, 1)}
    page.close()


def test_a_line_is_where_it_is_drawn(chromium: Browser) -> None:
    """The brightest column of the picture, a single stick, is where the pointer finds the mode."""
    plot = springs_result("H2O", dipoles=False).hover(width_cm=5, scale=0.5)
    page = chromium.new_page()
    page.set_content(plot.html)
    places = page.evaluate(
        """() => [...document.querySelectorAll('[id^=LineCollection] path')]
            .map(path => path.getAttribute('d').match(/M ([\\d.]+)/)).map(found => Number(found[1]))"""
    )
    for line in lines(plot):
        assert min(abs(line["x"] - place) for place in places) < 0.1
    page.close()
