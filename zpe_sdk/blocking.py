"""Blocking calls of coroutines, from a script, a thread or a notebook whose own loop is running.

All run on one event loop in a daemon thread of this process. No loop of the caller's is touched.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from queue import SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_starting = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine to its end and return what it returns.

    An interrupt (Ctrl-C) of the caller cancels the coroutine.
    """
    future = _start(coroutine)
    try:
        return future.result()
    finally:
        future.cancel()


def iterate(items: AsyncGenerator[R, None]) -> Iterator[R]:
    """Iterate over an asynchronous generator of objects (never None), which is closed at the end."""
    arrived: SimpleQueue[R | None] = SimpleQueue()

    async def pump() -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    arrived.put(item)
        finally:
            arrived.put(None)

    future = _start(pump())
    try:
        while (item := arrived.get()) is not None:
            yield item
        future.result()
    finally:
        future.cancel()


@overload
def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]: ...
@overload
def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], then: Callable[[R], T]
) -> Callable[Concatenate[Any, P], T]: ...
def blocking(method: Callable[..., Any], then: Callable[[Any], Any] | None = None) -> Callable[..., Any]:
    """Return the blocking twin of a method, for a class that holds its asynchronous self in ``_async``.

    Parameters
    ----------
    method
        The asynchronous method.
    then
        Applied to what it returns.
    """

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = run(method(self._async, *args, **kwargs))
        return result if then is None else then(result)

    return call


_THREAD = "zpe-client"


def _start(coroutine: Coroutine[Any, Any, R]) -> Future[R]:
    if threading.current_thread().name == _THREAD:
        coroutine.close()
        raise RuntimeError("a blocking call from inside an asynchronous one would wait for itself")
    return asyncio.run_coroutine_threadsafe(coroutine, _running_loop())


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name=_THREAD, daemon=True).start()
        return _loop


def _forget_loop() -> None:
    # A forked child has the loop's memory and not its thread.
    global _loop, _starting
    _loop, _starting = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_loop)
