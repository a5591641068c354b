"""Tokens of compute nodes and people, and the audit trail."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

import param

from zpe_dashboard.state.base import State
from zpe_sdk.client.enrolment import enrol_commands
from zpe_sdk.wire import ApiToken, AuditEntry, EnrollToken
from zpe_sdk.wire.names import PersonRole

HOUR = 3600


class Tokens(State):
    """Tokens in force, and the one that was made a moment ago.

    ``minted`` holds a secret. It is set in the session that asked for it alone; :meth:`forget` empties it.
    """

    enroll_tokens = param.List(default=[], item_type=EnrollToken)
    api_tokens = param.List(default=[], item_type=ApiToken)
    minted = param.String(default="", doc="The new token.")
    commands = param.Dict(default={}, doc="What to run there, by the way of running; it asks for the token.")

    async def fetch(self) -> dict[str, Any]:
        """Ask for the tokens in force."""
        enroll, people = await asyncio.gather(
            self.client.admin.enroll_tokens(), self.client.admin.api_tokens()
        )
        return {"enroll_tokens": enroll.enroll_tokens, "api_tokens": people.tokens}

    async def mint_enroll(self, label: str, hours: float, url: str) -> None:
        """Make a one-time token for a compute node, which is to reach the control plane at ``url``."""
        reply = await self.client.admin.enroll_token(
            label=label.strip() or None, ttl_seconds=round(hours * HOUR)
        )
        self.param.update(minted=reply.token, commands=enrol_commands(url))

    async def mint_person(
        self, owner: str, role: PersonRole, label: str, days: float | None, url: str
    ) -> None:
        """Make a token of a person; ``days`` None: in force until it is revoked."""
        reply = await self.client.admin.api_token(
            owner.strip(),
            role=role,
            label=label.strip() or None,
            ttl_seconds=None if days is None else round(days * 24 * HOUR),
        )
        self.param.update(minted=reply.token, commands={"terminal": f"zpe login {shlex.quote(url)}"})

    def forget(self) -> None:
        """Show the new token no more."""
        self.param.update(minted="", commands={})

    async def revoke_enroll(self, token_id: str) -> None:
        """Make an enroll token useless."""
        await self.client.admin.revoke_enroll_token(token_id)

    async def revoke_person(self, token_id: str) -> None:
        """Revoke the token of a person."""
        await self.client.admin.revoke_api_token(token_id)


class Audit(State):
    """Who did what: the newest acts of administrators, and registrations."""

    entries = param.List(default=[], item_type=AuditEntry)

    async def fetch(self) -> dict[str, Any]:
        """Ask for the newest."""
        return {"entries": (await self.client.admin.audit(limit=200)).entries}
