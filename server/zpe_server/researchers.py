"""Researchers: their groups, and what the members of a group show one another."""

from __future__ import annotations

from zpe_sdk.errors import AuthError, InputError
from zpe_sdk.wire import Group, GroupRequest, Limits, Me, MeRequest, Owner, Retention, RetentionRequest, Usage
from zpe_sdk.wire.names import PersonRole
from zpe_server.owners import Groups, all_groups
from zpe_server.settings import Settings
from zpe_server.store import Store, key, month
from zpe_server.targets import ANY, MINE
from zpe_server.tokens import ADMIN, ANONYMOUS, Principal
from zpe_server.transitions.base import items
from zpe_server.transitions.researchers import Limit, Owned, ReadOwners, Regroup, Retain

_DAY_MS = 86_400_000.0
# Whoever is told that results go sooner than they thought has so long to save them.
_GRACE_MS = _DAY_MS


class Researchers:
    """Who is in which group, who shows their jobs to it, and who may have how much."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def groups(self) -> Groups:
        """Return all groups, and who is in them."""
        return await all_groups(self._store)

    async def regroup(self, name: str, request: GroupRequest) -> Group:
        """Change who is in a group; it begins with its first member and ends with its last.

        Raises
        ------
        InputError
            ``bad_choice``: the name means something else where a job says ``where``.
        """
        if name in (ANY, MINE):
            raise InputError(f"{name!r} cannot be the name of a group", code="bad_choice", field="name")
        reply = await self._store.transition(Regroup(group=name, add=request.add, remove=request.remove))
        return Group(name=name, members=sorted(items(reply["members"])))

    async def me(self, who: Principal) -> Me:
        """Return who somebody is here."""
        role: PersonRole = who.role if who.role in ("admin", "observer") else "researcher"
        owner = await self.owner(who.subject, role=role)
        return Me(**owner.model_dump(include=set(Me.model_fields)))

    async def owner(self, name: str, *, role: PersonRole = "researcher") -> Owner:
        """Return what one owner has and may have."""
        usual = Limits(priority=100) if role == "admin" else self._settings.limits
        reply = await self._store.transition(ReadOwners(owner=name, usual=usual, month=month()))
        return _owner(items(reply["owners"])[0], role)

    async def owners(self) -> list[Owner]:
        """Return all researchers of whom there is something, by name."""
        reply = await self._store.transition(ReadOwners(usual=self._settings.limits, month=month()))
        return [
            _owner(found, "researcher") for found in items(reply["owners"]) if found["name"] != ADMIN.subject
        ]

    async def limit(self, owner: str, limits: Limits) -> Owner:
        """Say what an owner may have, in place of what goes for all; null: as for all."""
        await self._store.transition(Limit(owner=owner, limits=limits))
        return await self.owner(owner)

    async def retention(self) -> list[Retention]:
        """Return the projects of which it is said how long their jobs are remembered."""
        said = await self._store.fields(key("retention"))
        return [
            Retention(owner=owner, project=project, days=float(said[field]) / _DAY_MS)
            for field in sorted(said)
            for owner, _, project in (field.partition(" "),)
        ]

    async def retain(self, request: RetentionRequest) -> Retention:
        """Say how long the jobs of a project are remembered once they are over."""
        reply = await self._store.transition(
            Retain(
                owner=request.owner,
                project=request.project,
                ms=None if request.days is None else request.days * _DAY_MS,
                usual_ms=self._settings.result_ttl_seconds * 1000,
                grace_ms=_GRACE_MS,
            )
        )
        return Retention(**request.model_dump(), jobs=int(reply["jobs"]))

    async def change(self, who: Principal, request: MeRequest) -> Me:
        """Change what one shows to one's groups.

        Raises
        ------
        AuthError
            ``forbidden``: whoever comes without a token is nobody in particular.
        """
        if who == ANONYMOUS:
            raise AuthError("without a token there is nobody whose jobs these are", code="forbidden")
        await self._store.set_fields(key("owner", who.subject), {"shows_jobs": str(int(request.shows_jobs))})
        return await self.me(who)

    async def shows_jobs(self, owner: str, who: Principal) -> bool:
        """Tell whether somebody may see the jobs of an owner."""
        if who.sees in ("", owner):
            return True
        record = await self._store.fields(key("owner", owner))
        return record.get("shows_jobs") == "1" and any(
            {owner, who.subject} <= members for members in (await self.groups()).values()
        )


def _owner(found: Owned, role: PersonRole) -> Owner:
    def whole(numbers: dict[str, float]) -> dict[str, int]:
        return {
            name: int(number) for name, number in numbers.items()
        }  # Lua writes large ones with an exponent

    return Owner(
        name=found["name"],
        role=role,
        groups=sorted(items(found["groups"])),
        shows_jobs=found["shows_jobs"],
        usage=Usage(**whole(found["has"]), scf_hours=found["seconds"] / 3600),
        limits=Limits(**whole(found["may"])),
        own_limits=Limits(**whole(found["said"])),
        workers=found["workers"],
    )
