"""Tells administrators of jobs and workers, by mail, webhook or chat.

Notices are kept in Redis until they were passed on; one replica does it for all. Each is passed on at least
once: a replica that dies in between may have sent what the next one sends again. Where they go is Apprise's
trade, https://github.com/caronc/apprise.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog

from zpe_sdk.errors import ConfigError, StoreError
from zpe_sdk.extras import needed_for
from zpe_sdk.plain import plain
from zpe_server.settings import Settings
from zpe_server.store import Store
from zpe_server.transitions.base import items
from zpe_server.transitions.service import TakeNotices

if TYPE_CHECKING:
    from apprise import Apprise

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 5.0
# After an attempt in vain; each following one waits twice as long, up to the last.
_AGAIN_SECONDS, _LONGEST_SECONDS = 10.0, 300.0
# The other replicas leave it to the one that does it for longer than that.
_CLAIM_SECONDS = 2 * _LONGEST_SECONDS
# So much goes into one message.
_TOGETHER = 100
# What nobody could be told of for so long is news no more.
_OLD_SECONDS = 86400.0

_HEADS = {
    "finished": ("{} job finished", "{} jobs finished"),
    "failed": ("{} job failed", "{} jobs failed"),
    "worker_lost": ("{} worker lost with work in hand", "workers lost with work in hand {} times"),
}

Notice = dict[str, Any]


class Notices:
    """What is to be passed on, and to whom.

    Parameters
    ----------
    store, settings
        Of the control plane.
    replica
        The name of this replica.

    Raises
    ------
    ConfigError
        ``bad_setting``: ``ZPE_NOTIFY`` holds what is no URL of Apprise. ``extra_missing``.
    """

    def __init__(self, store: Store, settings: Settings, replica: str) -> None:
        self._store = store
        self._replica = replica
        self._on = settings.notify_on
        self._told: set[int] = set()  # targets that have got what others have not yet
        self._targets = targets(settings.notify.get_secret_value()) if settings.notify else []

    async def run(self) -> None:
        """Pass on what there is, again and again; without anybody to tell, end."""
        upto, pause = 0, _LOOK_SECONDS
        last: int | None = None  # of what is being passed on
        while self._targets:
            try:
                reply = await self._store.transition(
                    TakeNotices(
                        replica=self._replica, claim_ms=_CLAIM_SECONDS * 1000, upto=upto, limit=_TOGETHER
                    )
                )
                upto = 0
                taken: list[Notice] = [json.loads(text) for text in items(reply["notices"])]
                notices = [each for each in taken if last is None or each["serial"] <= last]
                if notices and not await self._tell(notices):
                    last = notices[-1]["serial"]
                    pause = min(_LONGEST_SECONDS, max(_AGAIN_SECONDS, 2 * pause))
                else:
                    upto = notices[-1]["serial"] if notices else 0
                    last, pause = None, 0.0 if taken else _LOOK_SECONDS
                    self._told.clear()
            except StoreError as error:  # said by others
                log.debug("the store is away", reason=str(error))
                pause = _LOOK_SECONDS
            await asyncio.sleep(pause)

    async def _tell(self, notices: Sequence[Notice]) -> bool:
        """Pass notices on to all who have not got them yet; return whether all have."""
        wanted = [each for each in notices if each["what"] in self._on and _is_news(each)]
        if not wanted:
            return True
        title, body = message(wanted)
        for number, target in enumerate(self._targets):
            if number in self._told:
                continue
            if await asyncio.to_thread(target.notify, body=body, title=title, body_format="text"):
                self._told.add(number)
            else:
                log.warning(
                    "a notice could not be passed on; it is tried again",
                    target=number + 1,
                    service=str(target[0].service_name),
                    notices=len(wanted),
                )
        return len(self._told) == len(self._targets)


def targets(urls: str) -> list[Apprise]:
    """Return whom a setting names.

    Raises
    ------
    ConfigError
        ``bad_setting``, without the URL, which may hold a password; ``extra_missing``.
    """
    with needed_for("ZPE_NOTIFY", "Apprise", "notify", "apprise"):
        from apprise import Apprise
    found: list[Apprise] = []
    # A comma may also stand within a URL, between people.
    for number, url in enumerate(re.split(r"\s+|,\s*(?=[a-z][a-z0-9]*://)", urls.strip()), 1):
        target = Apprise()
        if not target.add(url):
            raise ConfigError(
                f"ZPE_NOTIFY: number {number} is no URL of Apprise, such as "
                "mailtos://user:password@example.org or jsons://example.org/hook",
                code="bad_setting",
                field="ZPE_NOTIFY",
            )
        found.append(target)
    return found


def message(notices: Sequence[Notice]) -> tuple[str, str]:
    """Return the title and the text that tell of notices, one a line."""
    counts = Counter(each["what"] for each in notices)
    heads = [_HEADS[what][n > 1].format(n) for what, n in counts.items()]
    return f"ZPE: {', '.join(heads)}", "\n".join(map(_line, notices))


def _line(notice: Notice) -> str:
    name, owner = notice.get("name"), notice.get("owner")
    job = f"{name} ({notice['job']})" if name else str(notice["job"])
    whose = f" of {owner}" if owner else ""
    head = "worker lost" if notice["what"] == "worker_lost" else notice["what"]
    why = f": {notice['message']}" if notice.get("message") else ""
    return plain(f"{head}: job {job}{whose}{why}")


def _is_news(notice: Notice) -> bool:
    return time.time() - float(notice["at"]) / 1000 < _OLD_SECONDS
