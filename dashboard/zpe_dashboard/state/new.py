"""A job that is about to be submitted: its input, what it would take, and which atoms vibrate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import param

from zpe_dashboard.state.base import State
from zpe_sdk.client.prospect import Plan
from zpe_sdk.errors import InputError
from zpe_sdk.wire import JobReply, JobRequest, ParseReply

# No structure has more atoms; a longer range would only fill the memory.
_LONGEST = 100_000


class NewJob(State):
    """A pw.x input, looked at before it is submitted."""

    content = param.String(default="", doc="The text of the pw.x input.")
    job_name = param.String(default="", doc="The researcher's name for the job.")
    relax = param.Boolean(default=False, doc="Whether the structure is relaxed first.")
    parsed = param.ClassSelector(class_=ParseReply, default=None, allow_None=True)
    plan = param.ClassSelector(class_=Plan, default=None, allow_None=True, doc="What the job would take.")
    mobile = param.List(default=[], item_type=int, doc="Indices of the atoms that vibrate.")

    async def fetch(self) -> dict[str, Any]:
        """Ask for nothing: what is here was typed."""
        return {}

    def forget_plan(self) -> None:
        """Show no plan of another input."""
        self.param.update(parsed=None, plan=None, mobile=[])

    async def look(self) -> None:
        """Ask what is in the input, and what a job of it would take."""
        self.forget_plan()
        parsed = await self.client.parse(self.content)
        await self._plan(parsed, None)

    async def choose(self, mobile: Sequence[int]) -> None:
        """Have these atoms vibrate, and ask what the job takes then."""
        assert self.parsed is not None
        await self._plan(self.parsed, sorted(set(mobile)))

    async def toggle(self, atom: int) -> None:
        """Have an atom vibrate that did not, or the other way round."""
        await self.choose(sorted(set(self.mobile) ^ {atom}))

    async def choose_text(self, text: str) -> None:
        """Have the atoms vibrate that a text names, see :func:`indices_of`."""
        assert self.parsed is not None
        symbols = [atom.symbol for atom in self.parsed.structure.atoms]
        await self.choose(indices_of(text, symbols, self.parsed.fixed_indices))

    async def submit(self) -> str:
        """Submit the job as it was planned; return its id."""
        fields = self._fields(self.mobile) | (
            {"name": self.job_name.strip()} if self.job_name.strip() else {}
        )
        reply = await self.client.connection.call(
            "POST", "/calc/zpe/jobs", JobReply, body=JobRequest, fields=fields
        )
        self.param.update(content="", job_name="")
        self.forget_plan()
        return reply.job_id

    async def _plan(self, parsed: ParseReply, mobile: list[int] | None) -> None:
        plan = await self.client.connection.call(
            "POST", "/calc/zpe/plan", Plan, body=JobRequest, fields=self._fields(mobile)
        )
        self.param.update(parsed=parsed, plan=plan, mobile=plan.mobile_indices)

    def _fields(self, mobile: list[int] | None) -> dict[str, Any]:
        return {"content": self.content, "mobile_indices": mobile, "relax": self.relax or None}


def indices_of(text: str, symbols: Sequence[str], fixed: Sequence[int] = ()) -> list[int]:
    """Return the indices that a text names: ``0, 3-5``, or ``H`` for all free atoms of an element.

    Raises
    ------
    InputError
        ``bad_mobile_indices``.
    """
    found: list[int] = []
    for word in re.split(r"[\s,;]+", text.strip()):
        if match := re.fullmatch(r"(\d{1,8})(?:-(\d{1,8}))?", word):
            found += range(int(match[1]), min(int(match[2] or match[1]), _LONGEST) + 1)
        elif word in symbols:
            found += [n for n, symbol in enumerate(symbols) if symbol == word and n not in fixed]
        elif word:
            raise InputError(
                f"{word!r} is no atom: give indices from 0 on, such as 0, 3-5, or symbols of elements",
                code="bad_mobile_indices",
                field="mobile_indices",
            )
    return sorted(set(found))
