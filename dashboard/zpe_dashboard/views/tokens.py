"""Tokens, and the audit trail."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from zpe_dashboard.state.tokens import Audit, Tokens
from zpe_dashboard.views.page import View, heading


class TokensView(View[Tokens]):
    """Make tokens, see which are in force, revoke them."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        return [
            heading(w("Tokens"), 1),
            self.problem(),
            heading(w("Compute nodes")),
            self._mint_enroll(),
            self._enroll_tokens(),
            heading(w("People")),
            self._mint_person(),
            self._api_tokens(),
            self._shown_once(),
        ]

    def _mint_enroll(self) -> Any:
        w = self.words
        label = pmui.TextInput(label=w("Label, e.g. the node's name"), size="small", width=240, margin=0)
        hours = pmui.Select(
            label=w("Valid for"),
            options={w("1 hour"): 1, w("8 hours"): 8, w("1 day"): 24, w("7 days"): 168},
            value=1,
            size="small",
            width=130,
            margin=0,
        )
        mint = pmui.Button(label=w("Make enroll token"), variant="contained", margin=0)

        async def clicked(_: Any) -> None:
            if await self.act(
                self.state.mint_enroll(label.value_input or label.value, hours.value, self.place), w("Made.")
            ):
                label.value = ""

        mint.on_click(clicked)
        return self.deeds(label, hours, mint)

    def _mint_person(self) -> Any:
        w = self.words
        owner = pmui.TextInput(label=w("Name, shown with the jobs"), size="small", width=240, margin=0)
        label = pmui.TextInput(label=w("Label"), size="small", width=160, margin=0)
        days = pmui.Select(
            label=w("Valid for"),
            options={w("until revoked"): 0, w("30 days"): 30, w("1 year"): 365},
            value=0,
            size="small",
            width=190,
            margin=0,
        )
        role = pmui.Select(
            label=w("Role"),
            options={w("researcher"): "researcher", w("observer"): "observer", w("administrator"): "admin"},
            value="researcher",
            size="small",
            width=150,
            margin=0,
        )
        mint = pmui.Button(label=w("Make token"), variant="contained", margin=0)

        async def clicked(_: Any) -> None:
            action = self.state.mint_person(
                owner.value_input or owner.value,
                role.value,
                label.value_input or label.value,
                days.value or None,
                self.place,
            )
            if await self.act(action, w("Made.")):
                owner.value = label.value = ""

        mint.on_click(clicked)
        return self.deeds(owner, role, label, days, mint)

    def _shown_once(self) -> Any:
        w, state = self.words, self.state
        token, command = self.code(w("Token"), wrap=True), self.code(w("Command"), wrap=True)
        done = pmui.Button(label=w("Done"), variant="contained")
        way = pmui.RadioButtonGroup(
            label=w("How the worker runs"),
            options={
                w("in a terminal"): "terminal",
                "systemd": "systemd",
                "Slurm": "slurm",
                w("in a container"): "container",
            },
            value="terminal",
            size="small",
            sizing_mode="stretch_width",
            max_width=480,
            margin=(0, 0, 8, 0),
        )

        def title(text: str) -> pmui.Typography:
            # "subtitle2" would be a heading, of a level that none is above.
            return pmui.Typography(text, variant="body2", sx={"fontWeight": 500}, margin=(12, 0, 4, 0))

        dialog = pmui.Dialog(
            pn.Column(
                pmui.Typography(w("It is shown only now: nobody can look it up later."), margin=0),
                title(w("Token")),
                token,
                title(w("Run this there; it asks for the token")),
                way,
                command,
                pn.Row(pn.HSpacer(), done, margin=(16, 0, 0, 0), sizing_mode="stretch_width"),
                sizing_mode="stretch_width",
            ),
            title=w("A new token"),
            title_variant="h6",
            width_option="md",
        )

        def draw() -> None:
            way.visible = len(state.commands) > 1
            command.text = state.commands.get(way.value if way.visible else "terminal", "")
            token.text, dialog.open = state.minted, bool(state.minted)

        self.watch(draw, "minted", "commands")
        way.param.watch(lambda _: draw(), "value")
        done.on_click(lambda _: state.forget())
        return dialog

    def _enroll_tokens(self) -> Any:
        w = self.words
        table = self.table(
            [
                {"key": "label", "label": w("Label"), "kind": "text", "sort": True},
                {"key": "owner", "label": w("Owner"), "kind": "text", "sort": True},
                {"key": "created", "label": w("Made"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "expires", "label": w("Expires"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "actions", "label": "", "kind": "actions"},
            ],
            label=w("Enroll tokens"),
            empty=w("No enroll token waits to be used."),
            on_action=lambda token_id, _: self._revoke(token_id, self.state.revoke_enroll),
            margin=(12, 0),
        )

        def draw() -> None:
            table.rows = [
                {
                    "id": t.token_id,
                    "name": t.label or t.token_id,
                    "label": t.label or t.token_id,
                    "owner": t.owner,
                    "created": t.created_at,
                    "expires": t.expires_at,
                    "actions": [{"id": "revoke", "text": w("Revoke"), "tone": "bad"}],
                }
                for t in self.state.enroll_tokens
            ]

        self.watch(draw, "enroll_tokens")
        return table

    def _api_tokens(self) -> Any:
        w = self.words
        table = self.table(
            [
                {"key": "owner", "label": w("Name"), "kind": "text", "sort": True},
                {"key": "role", "label": w("Role"), "kind": "text", "sort": True},
                {"key": "label", "label": w("Label"), "kind": "text", "sort": True},
                {"key": "created", "label": w("Made"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "expires", "label": w("Expires"), "kind": "age", "align": "nowrap", "sort": True},
                {"key": "actions", "label": "", "kind": "actions"},
            ],
            label=w("Tokens of people"),
            empty=w("Nobody has a token."),
            on_action=lambda token_id, _: self._revoke(token_id, self.state.revoke_person),
            margin=(12, 0),
        )

        roles = {"researcher": w("researcher"), "observer": w("observer"), "admin": w("administrator")}

        def draw() -> None:
            table.rows = [
                {
                    "id": t.token_id,
                    "name": t.owner,
                    "owner": t.owner,
                    "role": roles[t.role],
                    "label": t.label,
                    "created": t.created_at,
                    "expires": t.expires_at,
                    "actions": [{"id": "revoke", "text": w("Revoke"), "tone": "bad"}],
                }
                for t in self.state.api_tokens
            ]

        self.watch(draw, "api_tokens")
        return table

    def _revoke(self, token_id: str, revoke: Any) -> None:
        w = self.words
        self.confirm(
            w("Revoke this token?"),
            w("Whoever has it is shut out at once."),
            w("Revoke"),
            lambda: self.act(revoke(token_id), w("Revoked.")),
        )


class AuditView(View[Audit]):
    """Who did what, when, from where."""

    def content(self) -> list[Any]:
        """Return the page."""
        w = self.words
        table = self.table(
            [
                {"key": "at", "label": w("When"), "kind": "time", "align": "nowrap"},
                {"key": "who", "label": w("Who"), "kind": "text", "sort": True},
                {"key": "what", "label": w("What"), "kind": "text", "sort": True},
                {"key": "subject", "label": w("About"), "kind": "mono"},
                {"key": "address", "label": w("From"), "kind": "mono", "sort": True},
            ],
            label=w("Audit trail"),
            empty=w("Nothing happened yet."),
        )

        def draw() -> None:
            entries = self.state.entries
            table.rows = [{"id": f"{entry.at}{n}", **entry.model_dump()} for n, entry in enumerate(entries)]

        self.watch(draw, "entries")
        return [heading(w("Audit trail"), 1), self.problem(), table]
