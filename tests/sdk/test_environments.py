"""The client where researchers use it: IPython, notebooks without widgets, hosted and dark ones, marimo.

Each is the real thing where it can run here: a kernel, a shell, a marimo program. Of a hosted notebook it is
a kernel with what such a service has and lacks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.kernels import kernel
from tests.processes import PATIENCE, ControlPlane, environment, h2
from tests.springs import springs_result
from zpe_sdk import ZPEClient

WAIT = f"""
from zpe_sdk import ZPEClient
client = ZPEClient()
job = client.submit({h2()!r}, name="hydrogen", calc_mode="new")
result = job.wait(240).result()
"""
# Before anything else of a kernel's session.
NO_WIDGETS = "import sys\nsys.modules['ipywidgets'] = None"
WIDGET = "application/vnd.jupyter.widget-view+json"


def test_without_widgets_a_cell_has_a_bar_of_text_and_no_complaint(plane: ControlPlane, token: str) -> None:
    with kernel(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=token) as notebook:
        assert notebook.run(NO_WIDGETS) == ""
        output = notebook.run(WAIT)
        assert "hydrogen" in output
        assert "3/3 SCFs" in output
        assert "Warning" not in output
        assert not any(WIDGET in shown for shown in notebook.shown)
        notebook.run("result")
        assert "# ZPE summary" in notebook.shown[-1]["text/html"]


def test_with_widgets_a_cell_has_one_that_counts_scfs_and_a_saved_notebook_their_number(
    plane: ControlPlane, token: str
) -> None:
    with kernel(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=token) as notebook:
        output = notebook.run(WAIT)
        assert output == ""
        bars = [shown for shown in notebook.shown if WIDGET in shown]
        assert len({bar[WIDGET]["model_id"] for bar in bars}) == 1
        assert "3/3 SCFs" in bars[-1]["text/plain"]


def test_a_hosted_notebook_starts_a_service_of_its_own(tmp_path: Path) -> None:
    """Nobody has logged in, there is no pw.x, and what runs there has a loop of its own."""
    with kernel(PATH=Path(sys.executable).parent, XDG_CONFIG_HOME=tmp_path) as notebook:
        notebook.run(f"import os\nos.chdir({str(tmp_path)!r})\nfrom zpe_sdk import ZPEClient")
        assert "zpe login" in notebook.run("ZPEClient()")
        refused = notebook.run("ZPEClient.embedded()")
        assert "there is no pw.x here" in refused
        started = f'client = ZPEClient.embedded("service", engine="mock")\njob = client.submit({h2()!r})'
        assert "Error" not in notebook.run(started)
        assert "True" in notebook.run("print(job.wait(240, progress=False).result().zpe_ev > 0.2)")
        assert "Error" not in notebook.run("client.close()")


IPYTHON = (
    f"{WAIT}\nfrom IPython.display import display\ndisplay(result)\ndisplay(job)\ndisplay(result.thermo())"
)


def test_ipython_in_a_terminal_shows_texts(plane: ControlPlane, token: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "-c", IPYTHON],
        env=environment(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=token, IPYTHONDIR=tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "<ZPEResult MOCK H2: ZPE" in done.stdout
    assert "<Job" in done.stdout
    assert "<table" not in done.stdout
    assert "3/3 SCFs" in done.stderr
    assert "Warning" not in done.stderr


MARIMO = f"""
import marimo

app = marimo.App()


@app.cell
def _():
    from zpe_sdk import ZPEClient

    with ZPEClient() as client:
        job = client.submit({h2()!r}, name="hydrogen")
        result = job.wait(240, progress=False).result()
    result
    return (result,)


@app.cell
def _(result):
    result.plot()
    return


if __name__ == "__main__":
    app.run()
"""


def test_marimo_shows_results(plane: ControlPlane, token: str, tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text(MARIMO)
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "export", "html", "notebook.py", "-o", "notebook.html"],
        cwd=tmp_path,
        env=environment(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=token, HOME=tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "notebook.html").read_text()
    assert "ZPE summary" in page
    assert "image/png" in page


def contrast(one: str, other: str) -> float:
    """Return the contrast of two CSS colours as the WCAG has it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# The colours of each element that has a text of its own: its own, and that of the nearest ground below it.
COLOURS = """
() => [...document.querySelectorAll("td, th, pre, p, a")].filter(e => e.textContent.trim()).map(e => {
    let below = e
    while (getComputedStyle(below).backgroundColor === "rgba(0, 0, 0, 0)" && below.parentElement)
        below = below.parentElement
    return [getComputedStyle(e).color, getComputedStyle(below).backgroundColor, e.textContent.trim()]
})
"""


@pytest.mark.parametrize("theme", ["color: #e0e0e0; background: #111", "color: #222; background: #fff"])
def test_what_is_shown_can_be_read_on_a_dark_ground_and_on_a_light_one(
    theme: str, client: ZPEClient, chromium: Browser
) -> None:
    water = springs_result("H2O")
    job = client.submit(h2(), name="hydrogen").wait(PATIENCE, progress=False)
    heavy = water.with_masses({"H": "D"})
    things = [water, job, client.jobs(limit=2), water.thermo(), water.compare(heavy), client.plan(h2())]
    page = chromium.new_page()
    shown = "".join(thing._repr_html_() for thing in things)
    page.set_content(f"<style>body {{ {theme} }} a {{ color: #5a9bf8 }}</style>{shown}")
    found = page.evaluate(COLOURS)
    page.close()
    assert len(found) > 40
    assert [text for text, ground, said in found if contrast(text, ground) < 2.5] == []


# The distance of each text in a row from the one before, in pixels.
GAPS = """
() => [...document.querySelectorAll("tr")].flatMap(row => {
    const places = [...row.cells].filter(cell => cell.textContent.trim()).map(cell => {
        const range = document.createRange()
        range.selectNodeContents(cell)
        return range.getBoundingClientRect()
    })
    return places.slice(1).map((place, i) => place.left - places[i].right)
})
"""


def test_columns_stay_apart_where_the_notebook_styles_no_tables(client: ZPEClient, chromium: Browser) -> None:
    water = springs_result("H2O")
    job = client.submit(h2(), name="hydrogen").wait(PATIENCE, progress=False)
    things = [job, client.jobs(limit=2), water.thermo(), water.compare(water.with_masses({"H": "D"}))]
    page = chromium.new_page()
    # As marimo does it, and whatever else begins with a clean slate.
    reset = "<style>* { margin: 0; padding: 0; border: 0 } table { border-collapse: collapse }</style>"
    page.set_content(reset + "".join(thing._repr_html_() for thing in things))
    gaps = page.evaluate(GAPS)
    page.close()
    assert len(gaps) > 10
    assert min(gaps) >= 6


def test_an_animation_that_was_loaded_out_of_sight_is_seen_whole(chromium: Browser) -> None:
    """As in Visual Studio Code, whose outputs have no size while they load."""
    page = chromium.new_page()
    animation = springs_result("H2O").animate()
    page.set_content(f"<div style='display: none'>{animation._repr_html_()}</div>")
    frame = page.locator("iframe").element_handle().content_frame()
    assert frame is not None
    frame.wait_for_load_state()
    page.evaluate("document.querySelector('div').style.display = 'block'")
    seen = "() => document.querySelector('canvas').width > 300"
    frame.wait_for_function(seen)
    places = frame.evaluate(
        "() => [...document.querySelectorAll('canvas, p')].map(e => e.getBoundingClientRect().bottom)"
    )
    page.close()
    assert places[0] > 200
    assert places[1] <= animation.size[1]
