"""Blocking calls of coroutines, from a script, a thread or a notebook whose own loop is running.

All run on one event loop in a daemon thread of this process. No loop of the caller's is touched, but for
one case: in a cell of a notebook, whose kernel has its own loop, a long wait lets that loop go
on (widgets, Panel's callbacks, the cell's tasks). asyncio alone cannot do that; nest-asyncio2 can. Its
forerunner nest-asyncio loses the cells that wait in line meanwhile, as they do after "Run All Cells".
Where the loop cannot be patched, as with uvloop, the cell waits as a script does.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import aclosing, contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

import nest_asyncio2

from zpe_sdk.errors import ZPEError

R = TypeVar("R")
Awaiting = Coroutine[Any, Any, Any] | Generator[Any, None, Any]

_starting = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine to its end and return what it returns.

    An interrupt (Ctrl-C) of the caller cancels the coroutine.
    """
    __tracebackhide__ = True  # IPython leaves such frames out
    future = _start(coroutine)
    try:
        return _outcome(future)
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
        while (item := _next(arrived)) is not None:
            yield item
        _outcome(future)
    finally:
        future.cancel()


def _outcome(future: Future[R]) -> R:
    __tracebackhide__ = True
    try:
        return future.result()
    except ZPEError as error:
        # It says what is wrong; where in the other thread it came up would fill a notebook with frames.
        raise error.with_traceback(None) from error.__cause__


def _next(arrived: SimpleQueue[R | None]) -> R | None:
    loop = _loop_of_notebook()
    if loop is None:
        return arrived.get()
    # Patched as late as this: a process that never waits in a cell keeps its asyncio.
    nest_asyncio2.apply(loop)
    with _hearing_widgets(loop):
        return loop.run_until_complete(loop.run_in_executor(None, arrived.get))


@contextmanager
def _hearing_widgets(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let messages of widgets be handled while a cell waits.

    The kernel handles all that it is sent in the one context that the waiting cell is in, and a context
    cannot be entered twice. Other cells have to wait for this one, so they lose nothing by it; what a
    browser sends to a widget is handled in a copy.
    """
    before = loop.get_task_factory()

    def new_task(loop: asyncio.AbstractEventLoop, coroutine: Awaiting, **options: Any) -> asyncio.Future[Any]:
        context = options.get("context")
        if context is not None and _is_for_a_widget(coroutine):
            options["context"] = context.copy()
        make: Callable[..., asyncio.Future[Any]] = before or _task
        return make(loop, coroutine, **options)

    loop.set_task_factory(new_task)
    try:
        yield
    finally:
        loop.set_task_factory(before)


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)


def _is_for_a_widget(coroutine: Awaiting) -> bool:
    """Tell whether a coroutine, not yet begun, is the kernel's own that handles a message to a widget."""
    if not inspect.iscoroutine(coroutine) or coroutine.__name__ != "shell_main":
        return False
    given = inspect.getcoroutinelocals(coroutine)
    try:
        session = given["self"].session
        _, frames = session.feed_identities(given["msg"], copy=False)
        kind: str = session.deserialize(frames, content=False, copy=False)["header"]["msg_type"]
    except (AttributeError, LookupError, ValueError):
        # A message that cannot be read, which the kernel itself complains of, or a kernel built otherwise.
        return False
    return kind.startswith("comm_")


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and bool(kernel.IPKernelApp.initialized())


def _loop_of_notebook() -> asyncio.BaseEventLoop | None:
    """Return the loop that runs this cell or callback; None in a script or if there is no patch for it."""
    if not in_notebook():
        return None
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if isinstance(loop, asyncio.BaseEventLoop) else None


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
