"""SCFs that are kept for later jobs: what there is, and what is not to be trusted any more."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from zpe_sdk.errors import InputError
from zpe_sdk.wire import KeptScfs
from zpe_server.settings import Settings
from zpe_server.store import Store, key
from zpe_server.transitions.base import items
from zpe_server.transitions.workers import Sifted, SiftKept, TakeBack

# As many SCFs or jobs at a time: nobody else waits for long.
STEP = 200


@dataclass(frozen=True)
class Choice:
    """Which SCFs are meant; what is empty may be anything.

    Attributes
    ----------
    owner
        Of the jobs they were computed for.
    worker
        Id or name of the compute node that computed them.
    version
        Version of the program.
    pseudopotential
        File name of one of its pseudopotentials, or the beginning of the SHA-256 of its bytes.
    """

    owner: str = ""
    worker: str = ""
    version: str = ""
    pseudopotential: str = ""


@dataclass(frozen=True)
class TakenBack:
    """How many SCFs kept for later were dropped, and how many jobs were opened again or marked."""

    scfs_dropped: int
    jobs_reopened: int
    jobs_marked: int


class Kept:
    """Looks through the SCFs that are kept, and drops some."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def find(self, choice: Choice) -> list[KeptScfs]:
        """Count the SCFs that are meant, by owner, worker, program and pseudopotentials; most first."""
        counts: Counter[str] = Counter()
        seen: set[str] = set()
        async for names in self._store.scan(key("scf", "*"), STEP):
            # A scan may come by the same key twice.
            fresh = [name for name in names if name not in seen]
            seen.update(fresh)
            for group in items((await self._look(fresh, choice, drop=False))["groups"]):
                counts[json.dumps({k: v for k, v in group.items() if k != "count"}, sort_keys=True)] += int(
                    group["count"]
                )
        return [_shown(json.loads(text), count) for text, count in counts.most_common()]

    async def drop(self, choice: Choice) -> int:
        """Drop the SCFs that are meant; return how many there were.

        Raises
        ------
        InputError
            ``bad_selection``: nothing was said of which are meant.
        """
        if choice == Choice():
            raise InputError(
                "say which SCFs are to be dropped, by owner, worker, version or pseudopotential",
                code="bad_selection",
                field="worker",
            )
        dropped = 0
        async for names in self._store.scan(key("scf", "*"), STEP):
            dropped += int((await self._look(names, choice, drop=True))["dropped"])
        return dropped

    async def take_back(self, worker: str) -> TakenBack:
        """Take back all that a revoked worker computed; again, it goes on where it was interrupted.

        SCFs kept for later go first, so that no job takes any of them over any more. Then all jobs are looked
        through.
        """
        dropped = await self.drop(Choice(worker=worker))
        reopened, marked = set[str](), set[str]()
        async for job_ids in self._store.scan_index(key("index", "*", "*"), STEP):
            reply = await self._store.transition(
                TakeBack(worker=worker, jobs=job_ids, retire_ms=self._settings.result_ttl_seconds * 1000)
            )
            reopened.update(items(reply["reopened"]))
            marked.update(items(reply["marked"]))
        return TakenBack(dropped, len(reopened), len(marked))

    async def _look(self, names: list[str], choice: Choice, *, drop: bool) -> Sifted:
        return await self._store.transition(
            SiftKept(
                keys=names,
                drop=drop,
                owner=choice.owner,
                worker=choice.worker,
                version=choice.version,
                pseudopotential=choice.pseudopotential,
            )
        )


def _shown(group: dict[str, Any], count: int) -> KeptScfs:
    print_ = group["print"]
    return KeptScfs(
        owner=group["owner"],
        server_id=group.get("worker"),
        worker=group["name"],
        engine_version=print_.get("engine_version", ""),
        pseudopotentials=dict(print_.get("pseudopotentials") or {}),
        count=count,
    )
