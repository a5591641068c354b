"""Where results of finished jobs are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zpe_sdk.extras import needed_for
from zpe_server.results.base import Result, ResultStore

if TYPE_CHECKING:
    from zpe_server.settings import Settings
    from zpe_server.store import Store

__all__ = ["Result", "ResultStore", "make_result_store"]


def make_result_store(settings: Settings, store: Store) -> ResultStore:
    """Return the store of ``settings.result_store``."""
    # Who makes a result takes neither.
    if settings.result_store == "s3":
        with needed_for("ZPE_RESULT_STORE=s3", "obstore", "s3", "obstore"):
            from zpe_server.results.s3 import S3Results

        return S3Results(settings)
    from zpe_server.results.redis import RedisResults

    return RedisResults(store, settings.max_result_bytes)
