"""``zpe rq-worker``: an RQ worker that has checked its machine first."""

from __future__ import annotations

from typing import Annotated

import redis
import rq
import typer

from zpe_sdk.errors import ConfigError
from zpe_sdk.worker.engines import make_engine
from zpe_sdk.worker.files import own_folder
from zpe_sdk.worker.settings import settings_from

# Imported before RQ forks: each job then starts at once.
from zpe_server.backends.remote_queue import work  # noqa: F401
from zpe_server.backends.remote_queue.offers import QUEUE
from zpe_server.environment import read_settings
from zpe_server.store import refuse_cluster


def rq_worker(
    burst: Annotated[bool, typer.Option("--burst", help="End when there is no work left.")] = False,
) -> None:
    """Run SCFs that RQ hands out, on a trusted host that may reach Redis.

    The same as `rq worker zpe-2`, but it makes sure first that this machine can compute. Set ZPE_REDIS_URL
    and what `zpe worker` reads of the machine: ZPE_PSEUDO_DIR, ZPE_PW_PATH, ZPE_SLOTS, ZPE_WORK_DIR, …
    The control plane must run with ZPE_COMPUTE_MODE=remote-queue.
    """
    url = read_settings().redis_url
    if url is None:
        raise ConfigError(
            "ZPE_REDIS_URL must name the Redis of the control plane",
            code="redis_url_missing",
            field="ZPE_REDIS_URL",
        )
    settings = settings_from({})
    work_dir = settings.work_dir.expanduser().absolute() / "rq-check"
    with own_folder(work_dir):
        make_engine(settings.model_copy(update={"work_dir": work_dir})).capabilities()
    connection = redis.Redis.from_url(url.get_secret_value())
    try:
        refuse_cluster(dict(connection.info("server")))
    except redis.RedisError as error:
        # Its own text may hold the URL, and that the password.
        raise ConfigError(
            f"the Redis of ZPE_REDIS_URL does not answer as it should ({type(error).__name__})",
            code="redis_unreachable",
            field="ZPE_REDIS_URL",
        ) from None
    rq.Worker([QUEUE], connection=connection).work(burst=burst)
