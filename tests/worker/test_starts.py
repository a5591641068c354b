"""Waiting for the density of another SCF, where that pays."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from zpe_sdk.wire import Task
from zpe_sdk.worker.engines.starts import Running

EQUILIBRIUM = Task(index=0)
FIRST = Task(index=1, atom=1, displacement=(0.01, 0.0, 0.0))
OPPOSITE = Task(index=2, atom=1, displacement=(-0.01, 0.0, 0.0))


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "equilibrium.save").mkdir()
    return tmp_path


def test_an_opposite_waits_for_a_first_that_is_half_through(job: Path) -> None:
    running, order = Running(), []
    with running.scf(job, EQUILIBRIUM):
        pass  # over in no time: whatever runs now is more than half through

    def opposite() -> None:
        running.await_sources(job, OPPOSITE, Event())
        order.append("opposite goes")

    waiting = Thread(target=opposite)
    assert not running.is_worth_waiting(job, OPPOSITE)
    with running.scf(job, FIRST):
        assert running.is_worth_waiting(job, OPPOSITE)
        waiting.start()
        waiting.join(timeout=0.3)  # time enough for one that does not wait
        order.append("first is done")
    waiting.join()
    assert order == ["first is done", "opposite goes"]


def test_nothing_is_waited_for_that_has_just_begun_or_does_not_come(job: Path) -> None:
    running = Running()
    with running.scf(job, FIRST):  # no SCF is done yet, so no end of this one can be foreseen
        running.await_sources(job, OPPOSITE, Event())
    running.await_sources(job, OPPOSITE, Event())


def test_what_is_done_is_waited_for_until_its_slot_is_free(job: Path) -> None:
    running = Running()
    with running.scf(job, FIRST):
        folder = next(iter(running._began))
    folder.mkdir()  # its density
    assert running.is_worth_waiting(job, OPPOSITE, [FIRST])
    assert not running.is_worth_waiting(job, OPPOSITE, [])


def test_a_wait_ends_when_the_worker_is_to_stop(job: Path) -> None:
    running, stop = Running(), Event()
    with running.scf(job, EQUILIBRIUM):
        pass
    waiting = Thread(target=running.await_sources, args=(job, OPPOSITE, stop))
    with running.scf(job, FIRST):
        waiting.start()
        stop.set()
        waiting.join()


def test_who_needs_the_equilibrium_waits_for_it_even_before_it_runs(job: Path) -> None:
    running, order = Running(), []

    def displaced() -> None:
        running.await_sources(job, FIRST, Event(), equilibrium=True)
        order.append("displaced goes")

    waiting = Thread(target=displaced)
    with running.here(job, EQUILIBRIUM):
        waiting.start()
        waiting.join(timeout=0.3)  # time enough for one that does not wait
        order.append("equilibrium is done")
    waiting.join()
    assert order == ["equilibrium is done", "displaced goes"]
    running.await_sources(job, FIRST, Event(), equilibrium=True)  # one that runs elsewhere is not waited for
