"""Planning for others: by turns, in processes of its own, and not for who has gone."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from functools import partial

import psutil
import pytest

from zpe_sdk.errors import InputError, StoreError
from zpe_server import planner
from zpe_server.planner import Planner


async def here() -> bool:
    """Tell of a client that waits that it has not gone."""
    return False


def refused() -> None:
    """Raise what reading an input raises."""
    raise InputError("no", code="bad_input", field="K_POINTS")


def test_what_a_function_returns_or_raises_comes_from_another_process() -> None:
    async def ask() -> int:
        one = Planner()
        with pytest.raises(InputError) as caught:
            await one.run("ann", here, refused)
        assert (caught.value.code, caught.value.field) == ("bad_input", "K_POINTS")
        return await one.run("ann", here, os.getpid)

    assert asyncio.run(ask()) != os.getpid()


def test_who_asks_while_the_first_process_loads_gets_that_one() -> None:
    async def ask() -> None:
        one, others = Planner(), _children()
        begun = asyncio.create_task(one.begin())
        await asyncio.sleep(0)  # it begins
        process = await one.run("ann", here, os.getpid)
        await begun
        assert [child.pid for child in _children() if child not in others] == [process]

    asyncio.run(ask())


def test_what_a_client_who_has_gone_wanted_is_ended_and_others_have_their_turn() -> None:
    async def ask() -> None:
        one = Planner()
        gone: list[bool] = []

        async def has_gone() -> bool:
            return bool(gone)

        waits = [
            asyncio.create_task(one.run(owner, has_gone, time.sleep, 1000)) for owner in ("ann", "ann", "bob")
        ]
        while len(_children()) < planner.PROCESSES:
            await asyncio.sleep(0)
        # Both processes are taken, one by each owner. A third owner waits until somebody has gone.
        asked = asyncio.create_task(one.run("cy", here, os.getpid))
        gone.append(True)
        for wait in waits:
            with pytest.raises(StoreError):
                await wait
        assert await asked > 0

    asyncio.run(ask())


def test_an_owner_who_asks_for_too_much_is_told_so_and_another_is_not() -> None:
    async def ask() -> None:
        one = Planner()
        patient = partial(one.run, "ann", here, os.getpid)
        several = [asyncio.create_task(patient()) for _ in range(planner.TURNS_EACH + planner.WAITING_EACH)]
        await asyncio.sleep(0)  # they begin
        with pytest.raises(StoreError) as caught:
            await patient()
        assert caught.value.code == "busy"
        assert await one.run("bob", here, os.getpid) > 0
        # Nobody is forgotten, and when all have been served there is room again.
        assert len(await asyncio.gather(*several)) == len(several)
        assert await patient() > 0

    asyncio.run(ask())


def work_for_ever() -> None:
    while True:
        with suppress(Exception):  # as a library may that has a way out of anything
            sum(range(100))


def test_what_takes_too_long_is_ended_and_waiting_for_a_core_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "SECONDS", 0.1)

    async def ask() -> None:
        one = Planner()
        with pytest.raises(InputError) as caught:
            await one.run("ann", here, work_for_ever)
        assert caught.value.code == "out_of_bounds"
        await one.run("ann", here, time.sleep, 0.3)

    asyncio.run(ask())


def _children() -> list[psutil.Process]:
    return psutil.Process().children()
