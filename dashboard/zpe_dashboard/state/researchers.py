"""Researchers: their groups, what they have, and what they may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import param

from zpe_dashboard.state.base import State
from zpe_sdk.errors import InputError
from zpe_sdk.wire import Owner

MEGABYTE = 10**6


class Researchers(State):
    """The researchers of whom there is something, and the one whose groups and limits are being changed."""

    owners = param.List(default=[], item_type=Owner)
    edited = param.ClassSelector(class_=Owner, default=None, allow_None=True)

    async def fetch(self) -> dict[str, Any]:
        """Ask for them."""
        return {"owners": (await self.client.admin.owners()).owners}

    def edit(self, name: str | None) -> None:
        """Begin to change one of them; None: leave it at that."""
        self.edited = next((owner for owner in self.owners if owner.name == name), None)

    async def change(self, groups: str, limits: Mapping[str, str]) -> None:
        """Put the one who is edited into these groups and no others, with these limits.

        Parameters
        ----------
        groups
            Their names, separated by commas.
        limits
            Of ``priority``, ``jobs``, ``scfs`` and ``megabytes``, as they were typed; empty: as for all.

        Raises
        ------
        InputError
            ``bad_request``: one is not a number.
        """
        owner = self.edited
        assert owner is not None
        wanted = {name.strip() for name in groups.split(",")} - {""}
        # All is read before anything is changed.
        size = _number("megabytes", limits["megabytes"])
        numbers = {
            **{name: _whole(name, limits[name]) for name in ("priority", "jobs", "scfs")},
            "bytes": None if size is None else round(size * MEGABYTE),
        }
        admin = self.client.admin
        if numbers != owner.own_limits.model_dump():
            await admin.limit(owner.name, **numbers)
        for name in sorted(wanted - set(owner.groups)):
            await admin.group(name, add=[owner.name])
        for name in sorted(set(owner.groups) - wanted):
            await admin.group(name, remove=[owner.name])
        self.edited = None


def typed(owner: Owner) -> dict[str, str]:
    """Return an owner's own limits as one would type them; empty: as for all."""
    said = owner.own_limits
    size = None if said.bytes is None else f"{said.bytes / MEGABYTE:.15g}"
    numbers = {"priority": said.priority, "jobs": said.jobs, "scfs": said.scfs, "megabytes": size}
    return {name: "" if number is None else str(number) for name, number in numbers.items()}


def _number(name: str, text: str) -> float | None:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise InputError(f"{name}: {text!r} is not a number", code="bad_request", field=name) from None


def _whole(name: str, text: str) -> int | None:
    number = _number(name, text)
    if number is not None and not number.is_integer():
        raise InputError(f"{name}: {text!r} is not a whole number", code="bad_request", field=name)
    return None if number is None else int(number)
