"""A worker of the control plane's own, on the same machine: started, watched and ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import structlog
from pydantic import ValidationError

from zpe_sdk.errors import AuthError, ConfigError, StoreError, ZPEError
from zpe_sdk.http import base_url
from zpe_sdk.keeper import keep
from zpe_sdk.wire import EnrollTokenRequest, ErrorInfo
from zpe_sdk.worker.engines import make_engine
from zpe_sdk.worker.identity import Identity
from zpe_sdk.worker.settings import settings_from
from zpe_server.environment import LOCAL_URL
from zpe_server.plane import Plane
from zpe_server.tokens import ADMIN
from zpe_server.transitions.jobs import GiveUp

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
_GRACE_SECONDS = 10.0
# What a worker does not need to know, and who it is: that is decided here.
_NOT_FOR_WORKERS = {
    *("ZPE_ADMIN_TOKEN", "ZPE_REDIS_URL", "ZPE_METRICS_TOKEN", LOCAL_URL),
    *("ZPE_ENROLL_TOKEN", "ZPE_ENROLL_FILE", "ZPE_WORKER_TOKEN"),
}


class Local:
    """Supervises one worker process, whichever of several server processes gets to do it."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._folder = (plane.settings.data_dir / "local-worker").resolve()

    async def run(self) -> None:
        """Keep a worker running until cancelled."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with _only_one(self._folder / "supervisor.lock"):
            pause = _PAUSE_SECONDS
            while True:
                try:
                    await anyio.to_thread.run_sync(self._check)
                    ran = await self._run_worker()
                    pause = _PAUSE_SECONDS if ran > _MAX_PAUSE_SECONDS else min(2 * pause, _MAX_PAUSE_SECONDS)
                except ConfigError as error:
                    await self._give_up(error)
                    pause = _PAUSE_SECONDS
                except StoreError as error:  # said by others
                    log.debug("the store is away", reason=str(error))
                    pause = _PAUSE_SECONDS
                await asyncio.sleep(pause)

    def _check(self) -> None:
        """Raise unless this machine can compute at all; what computes elsewhere may be there later.

        Raises
        ------
        ConfigError
            ``pw_not_found``, ``pseudo_dir_missing``, ``bad_setting`` …
        """
        settings = settings_from({"work_dir": self._folder / "work"})
        engine = make_engine(settings)
        if settings.executor is None:
            engine.capabilities()

    async def _give_up(self, error: ZPEError) -> None:
        """Fail the jobs that wait: nobody else will come for them."""
        info = ErrorInfo(side=error.side, code=error.code, message=error.message, field=error.field)
        with contextlib.suppress(StoreError):
            reply = await self._plane.store.transition(GiveUp(error=info, limit=100))
            if reply["failed"]:
                log.error("this machine cannot compute; jobs fail", jobs=reply["failed"], reason=str(error))

    async def _run_worker(self) -> float:
        """Run a worker until it ends; return how many seconds that took."""
        work_dir = self._folder / "work"
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_WORKERS}
        environment = kept | {
            "ZPE_CONTROL_API_URL": os.environ[LOCAL_URL],
            "ZPE_WORK_DIR": str(work_dir),
            "ZPE_WORKER_NAME": "local",
        }
        # Started again, it is the one it was: what it holds and has finished is its own.
        identity = work_dir / "identity.json"
        if not await self._is_accepted(identity):
            identity.unlink(missing_ok=True)
            request = EnrollTokenRequest(ttl_seconds=300, label="local worker")
            environment["ZPE_ENROLL_TOKEN"] = (
                await self._plane.tokens.mint_enroll_token(ADMIN, request)
            ).token
        loop = asyncio.get_running_loop()
        started = loop.time()
        with (self._folder / "worker.log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *keep([sys.executable, "-m", "zpe_sdk.worker"], grace=_GRACE_SECONDS),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        log.info("local worker started", log=str(self._folder / "worker.log"))
        try:
            code = await process.wait()
            log.error("the local worker ended; it is started again", status=code)
        finally:
            # The keeper ends the worker when its input closes.
            if process.returncode is None and process.stdin:
                process.stdin.close()
                await process.wait()
        return loop.time() - started

    async def _is_accepted(self, path: Path) -> bool:
        """Tell whether a worker with this identity would find its way here, and be let in."""
        try:
            identity = Identity.model_validate_json(path.read_bytes())
            await self._plane.tokens.authenticate(identity.worker_token.get_secret_value())
        except (OSError, ValidationError, AuthError):
            return False
        return identity.control_url == str(base_url(os.environ[LOCAL_URL], insecure=True))


@asynccontextmanager
async def _only_one(path: Path) -> AsyncIterator[None]:
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                await asyncio.sleep(_PAUSE_SECONDS)
        yield
