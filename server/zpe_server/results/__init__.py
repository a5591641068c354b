"""Where results of finished jobs are kept."""

from __future__ import annotations

from zpe_sdk.extras import needed_for
from zpe_server.results.base import Result, ResultStore
from zpe_server.results.redis import RedisResults
from zpe_server.settings import Settings
from zpe_server.store import Store

__all__ = ["Result", "ResultStore", "make_result_store"]


def make_result_store(settings: Settings, store: Store) -> ResultStore:
    """Return the store of ``settings.result_store``."""
    if settings.result_store == "s3":
        with needed_for("ZPE_RESULT_STORE=s3", "obstore", "s3", "obstore"):
            from zpe_server.results.s3 import S3Results

        return S3Results(settings)
    return RedisResults(store, settings.max_result_bytes)
