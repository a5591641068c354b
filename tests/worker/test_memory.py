"""As many SCFs side by side as the memory holds."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from zpe_sdk.errors import ComputeError
from zpe_sdk.worker.engines.memory import BYTES_PER_RANK, USABLE, Memory

GB = 1e9


def two_and_a_half() -> Memory:
    """Memory for two SCFs of the job, not for three."""
    memory = Memory(2.5 * GB / USABLE)
    memory.measured("job", GB - BYTES_PER_RANK, ranks=1)
    return memory


def test_what_does_not_fit_waits_for_what_runs() -> None:
    memory, never, order = two_and_a_half(), Event(), []

    def third() -> None:
        with memory.hold("job", never):
            order.append("third")

    with memory.hold("job", never):
        with memory.hold("job", never):
            waiting = Thread(target=third)
            waiting.start()
            waiting.join(timeout=0.3)  # time enough for one that does not wait
            order.append("second is done")
        waiting.join()
    assert order == ["second is done", "third"]
    assert memory.side_by_side("job") == 2


def test_one_may_run_however_large_and_what_is_not_known_does_not_wait() -> None:
    memory = Memory(GB)
    memory.measured("large", 5 * GB, ranks=1)
    with memory.hold("large", Event()), memory.hold("unknown", Event()):
        assert memory.side_by_side("large") == 1
        assert memory.side_by_side("unknown") == float("inf")


def test_running_out_of_memory_lowers_the_number_and_alone_it_is_the_end() -> None:
    memory, never = Memory(8 * GB), Event()
    with memory.hold("job", never), memory.hold("job", never), memory.hold("job", never):
        assert memory.was_too_little("job")
        assert memory.side_by_side("job") == 2
    with memory.hold("job", never):
        assert not memory.was_too_little("job")


def test_waiting_for_memory_ends_on_request() -> None:
    memory, stop = Memory(GB), Event()
    memory.measured("job", GB, ranks=1)
    with memory.hold("job", Event()):
        stop.set()
        with pytest.raises(ComputeError) as caught, memory.hold("job", stop):
            pass
    assert caught.value.code == "stopped"
