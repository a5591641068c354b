"""Where inputs are read and planned: in processes of their own, by turns, so that nobody waits for others.

A large structure takes seconds, in which the process that answers requests would do nothing else.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import anyio.to_process

from zpe_sdk.errors import InputError, StoreError
from zpe_server.measures import PLANNING

T = TypeVar("T")

PROCESSES = 2
# Of one owner so many have their turn together, and so many wait.
TURNS_EACH, WAITING_EACH = 1, 200
# Of a core: far more than the largest input takes. What a busy machine adds does not count.
SECONDS = 60.0
_LOOK_SECONDS = 1.0


class Planner:
    """Calls functions of an input for owners, who take turns."""

    def __init__(self) -> None:
        self._processes = asyncio.Semaphore(PROCESSES)
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._asked: Counter[str] = Counter()
        self._loading = asyncio.Lock()
        self._is_loaded = False

    async def begin(self) -> None:
        """Start a process that loads what planning takes, so that the first job does not wait for that.

        What is asked meanwhile waits for it: a second process would load the same, and take as long.
        Nothing happens if it has begun already.
        """
        async with self._loading:
            if not self._is_loaded:
                await anyio.to_process.run_sync(_load, cancellable=True)
                self._is_loaded = True

    async def run(
        self, owner: str, disconnected: Callable[[], Awaitable[bool]], function: Callable[..., T], *args: Any
    ) -> T:
        """Return what a function returns, when it is the owner's turn.

        Parameters
        ----------
        owner
            For whom it is called.
        disconnected
            Tells whether the client has gone; then it is called no more, or ended.
        function, args
            All of it, and what comes of it, is pickled.

        Raises
        ------
        StoreError
            ``busy``: the owner asks for too much at a time.
        InputError
            ``out_of_bounds``: it takes too long.
        ZPEError
            What the function raises.
        """
        if self._asked[owner] >= TURNS_EACH + WAITING_EACH:
            raise StoreError(f"{WAITING_EACH} inputs of this owner wait already; try again", code="busy")
        self._asked[owner] += 1
        work = asyncio.create_task(self._turn(owner, function, args))
        try:
            while not (await asyncio.wait({work}, timeout=_LOOK_SECONDS))[0]:
                if await disconnected():
                    raise StoreError("the client has gone", code="busy")
            return work.result()
        finally:
            work.cancel()
            self._asked[owner] -= 1
            if not self._asked[owner]:
                del self._asked[owner]
                self._turns.pop(owner, None)

    async def _turn(self, owner: str, function: Callable[..., T], args: tuple[Any, ...]) -> T:
        turns = self._turns.setdefault(owner, asyncio.Semaphore(TURNS_EACH))
        try:
            with PLANNING.time():
                async with self._loading:
                    pass
                async with turns, self._processes:
                    return await anyio.to_process.run_sync(
                        _limited, SECONDS, function, *args, cancellable=True
                    )
        except _TooLong:
            raise InputError(
                f"the input takes more than {SECONDS:.0f} s of a core to be read and planned",
                code="out_of_bounds",
                field="content",
            ) from None
        except anyio.BrokenWorkerProcess:
            raise StoreError("the planning of jobs was interrupted; try again", code="busy") from None


class _TooLong(BaseException):
    """Not an Exception, which what it ends might take for one of its own."""


def _limited(seconds: float, function: Callable[..., T], *args: Any) -> T:
    """Call a function, for so many seconds of a core at most."""

    def end(*_: object) -> None:
        raise _TooLong

    signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return function(*args)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _load() -> None:
    from zpe_server import planning  # noqa: F401 - it brings SciPy and much of ASE
