"""The blocking client in the cell of a real notebook kernel, whose loop goes on meanwhile, and elsewhere."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.kernels import Kernel, kernel
from tests.processes import ControlPlane, environment, h2
from zpe_sdk import ZPEClient


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """A control plane with one worker, whose SCFs take a moment."""
    control_plane.worker(ZPE_MOCK_SCF_SECONDS="0.2", ZPE_SLOTS="1")
    return control_plane


@pytest.fixture(scope="module")
def notebook(plane: ControlPlane) -> Iterator[Kernel]:
    with kernel(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=plane.admin_token) as running:
        running.run("from zpe_sdk import ZPEClient, as_completed\nclient = ZPEClient()")
        yield running


def test_the_kernels_loop_goes_on_while_a_cell_waits(notebook: Kernel) -> None:
    output = notebook.run(f"""
import asyncio
ticks = 0
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep(0.01)
task = asyncio.ensure_future(tick())
await asyncio.sleep(0)
before = ticks
job = client.submit({h2()!r}, symmetry=False, calc_mode="new").wait(240, progress=False)
print("ticked", ticks - before > 10, job.result().zpe_ev > 0.2)
""")
    assert "ticked True True" in output


WIDGET = """
import ipywidgets
slider = ipywidgets.IntSlider()
def moved(change):
    # Without this the job never ends.
    client.admin.set_flags(dequeue_enabled=True)
    inner = client.submit({h2!r}, calc_mode="new").wait(240, progress=False)
    print("moved to", change.new, inner.result().zpe_ev > 0.2)
slider.observe(moved, "value")
client.admin.set_flags(dequeue_enabled=False)
job = client.submit({h2!r}, calc_mode="new")
print("waits", slider.comm.comm_id, flush=True)
job.wait(240, progress=False)
print("waited", slider.value)
"""


@pytest.fixture
def dequeueing_again(plane: ControlPlane) -> Iterator[None]:
    """Jobs run again after a test that has stopped them, also if it failed."""
    yield
    with ZPEClient(plane.url, plane.admin_token) as client:
        client.admin.set_flags(dequeue_enabled=True)


@pytest.mark.usefixtures("dequeueing_again")
def test_a_widget_is_heard_while_a_cell_waits_and_cells_in_line_are_not_lost(notebook: Kernel) -> None:
    cells = [
        WIDGET.format(h2=h2()),
        "import numpy\nnumpy.seterr(all='raise')",
        "print(numpy.geterr()['over'])",
    ]
    # As "Run All Cells" does it.
    first, *_, last = [notebook.client.execute(cell) for cell in cells]
    comm = notebook.line_of(first, "waits").split()[1]
    # What a browser sends when the slider is moved.
    notebook.send_comm(comm, {"method": "update", "state": {"value": 7}, "buffer_paths": []})
    # What a cell sets, those after it have: settings of numpy are kept in the context that it runs in.
    assert "raise" in notebook.output_of(last)
    assert "moved to 7 True" in notebook.printed
    assert "waited 7" in notebook.printed


def test_an_interrupted_cell_stops_waiting_and_the_job_goes_on(notebook: Kernel) -> None:
    sent = notebook.client.execute(f"""
job = client.submit({h2()!r}, symmetry=False, calc_mode="new")
for event in job.events():
    print("event", event.status, flush=True)
""")
    notebook.line_of(sent, "event")
    notebook.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in notebook.output_of(sent)
    assert "finished" in notebook.run("print(job.wait(240, progress=False).status().status)")


def test_cells_after_one_that_has_waited(notebook: Kernel) -> None:
    cell = f"print([job.result().zpe_ev > 0.2 for job in as_completed(client.submit_many(2 * [{h2()!r}]))])"
    assert "[True, True]" in notebook.run(cell)
    assert "[True, True]" in notebook.run(cell)
    assert "3" in notebook.run("import asyncio\nprint(1 + await asyncio.sleep(0, 2))")


def test_what_was_chosen_does_not_look_like_an_error(notebook: Kernel) -> None:
    cell = """
import contextlib, io
from ase import Atoms
with contextlib.redirect_stdout(io.StringIO()) as shown:
    client.submit(Atoms("H2", [(0, 0, 0), (0, 0, 0.75)]), pseudopotentials={"H": "H.UPF"}, ecutwfc=20)
print("told", "Chosen:" in shown.getvalue())
"""
    assert "told True" in notebook.run(cell)


UVLOOP = """
import sys, uvloop
from zpe_sdk import ZPEClient
async def cell():
    with ZPEClient() as client:
        return client.submit(sys.argv[1]).wait(240, progress=False).result().zpe_ev
print(uvloop.run(cell()) > 0.2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no uvloop")
def test_under_uvloop(plane: ControlPlane) -> None:
    script = subprocess.run(
        [sys.executable, "-c", UVLOOP, h2()],
        env=environment(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=plane.admin_token),
        capture_output=True,
        text=True,
        check=False,
    )
    assert script.stdout.strip() == "True", script.stderr


def test_outside_of_a_notebook_no_loop_is_patched(plane: ControlPlane) -> None:
    async def cell() -> str:
        with ZPEClient(plane.url, plane.admin_token) as client:
            return client.submit(h2()).wait(240, progress=False).status().status

    assert asyncio.run(cell()) == "finished"
    assert not hasattr(asyncio, "_nest_patched"), os.getpid()
