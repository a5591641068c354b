"""Tokens: who may do what. Only their SHA-256 is stored; each is shown once, when it is made."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zpe_sdk.errors import AuthError, InputError
from zpe_sdk.extras import needed_for
from zpe_sdk.wire import (
    ApiToken,
    ApiTokenReply,
    ApiTokenRequest,
    EnrollToken,
    EnrollTokenReply,
    EnrollTokenRequest,
)
from zpe_sdk.wire.names import PersonRole
from zpe_server.events import Events
from zpe_server.owners import check_width
from zpe_server.records import iso
from zpe_server.settings import Settings
from zpe_server.store import Store, key
from zpe_server.transitions.base import items
from zpe_server.transitions.tokens import Authenticate, Kind, ListTokens, Mint, Minted

if TYPE_CHECKING:
    from zpe_server.issuer import Issuer

Role = Literal["admin", "observer", "researcher", "worker", "scraper"]

_ID_LENGTH = 16
# For so long, and as long as no token changes, who a token belongs to is not asked again.
_TRUSTED_SECONDS = 300.0
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class Principal:
    """Whoever makes a request: ``subject`` is an owner's name, or a worker's id.

    ``by_issuer``: an issuer says so, and not a token of ours.
    """

    role: Role
    subject: str
    name: str
    by_issuer: bool = False

    @property
    def sees(self) -> str:
        """The owner whose things this one sees; empty: everybody's."""
        return "" if self.role in ("admin", "observer") else self.subject

    @property
    def decides_for(self) -> str:
        """The owner whose things this one decides about; empty: everybody's."""
        return "" if self.role == "admin" else self.subject


ADMIN = Principal("admin", "admin", "admin")
ANONYMOUS = Principal("researcher", "anonymous", "anonymous")
SCRAPER = Principal("scraper", "metrics", "metrics")
_RESERVED = (ADMIN.subject, ANONYMOUS.subject)


@dataclass(frozen=True)
class _Known:
    """Whose a token is, as of a count of changes, and until a time of the monotonic clock."""

    who: Principal
    changes: int
    until: float


def new_token(kind: str) -> str:
    """Return a new secret with 256 random bits; its beginning says what it is, e.g. ``zpew_`` a worker's."""
    return f"zpe{kind}_{secrets.token_urlsafe(32)}"


def hash_of(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def id_of(token: str) -> str:
    """Return what a token is called where it is listed and revoked."""
    return hash_of(token)[:_ID_LENGTH]


class Tokens:
    """Makes, finds, lists and revokes tokens."""

    def __init__(self, store: Store, settings: Settings, events: Events) -> None:
        self._store = store
        self._settings = settings
        self._events = events
        self._known: dict[str, _Known] = {}
        self._issuer = _issuer(settings)
        admin = settings.admin_token
        self._admin_hash = hash_of(admin.get_secret_value()) if admin else None
        metrics = settings.metrics_token
        self._metrics_hash = hash_of(metrics.get_secret_value()) if metrics else None

    @property
    def has_admin(self) -> bool:
        """Whether there is an administrator at all."""
        return self._admin_hash is not None

    def may_scrape(self, token: str) -> bool:
        """Tell whether this is the token that may read the metrics."""
        return self._metrics_hash is not None and hmac.compare_digest(hash_of(token), self._metrics_hash)

    async def authenticate(self, token: str) -> Principal:
        """Return whose token this is.

        Redis is asked once; after that, it tells of changes by itself, to this process as to all others. That
        it was emptied or restored is heard with the next sweep.

        Raises
        ------
        AuthError
            ``bad_token``: unknown, expired or revoked; ``worker_revoked``: of a worker that was shut out;
            ``not_allowed``: of somebody who may not come in.
        ConfigError
            ``issuer_unreachable``.
        """
        if self._issuer and token.count(".") == 2:  # ours have no dots
            name = await self._issuer.verify(token)
            if name in _RESERVED:
                raise AuthError(f"the name {name!r} stands for somebody else here", code="not_allowed")
            return Principal("researcher", name, name, by_issuer=True)
        digest = hash_of(token)
        if self._admin_hash is not None and hmac.compare_digest(digest, self._admin_hash):
            return ADMIN
        changes, known = self._events.principals_changed, self._known.get(digest)
        if known and self._events.listening and known.changes == changes and time.monotonic() < known.until:
            return known.who
        asked = time.monotonic()
        found = await self._store.transition(Authenticate(token=digest))
        if not found or found["role"] == "revoked":
            self._known.pop(digest, None)
            if found:
                raise AuthError("this worker has been revoked", code="worker_revoked")
            raise AuthError("this token is unknown, expired or revoked", code="bad_token")
        who = Principal(found["role"], found["subject"], found["name"])
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        trusted = min(_TRUSTED_SECONDS, found.get("left_ms", float("inf")) / 1000)
        self._known[digest] = _Known(who, changes, asked + trusted)
        return who

    async def mint_enroll_token(self, who: Principal, request: EnrollTokenRequest) -> EnrollTokenReply:
        """Make a one-time token with which a compute node enrolls.

        Raises
        ------
        AuthError
            ``forbidden``: a researcher may enrol workers of their own only; ``user_workers_off``,
            ``accepts_too_wide``.
        InputError
            ``no_owner``: the worker would have none, whose jobs it could be for; ``owner_reserved``.
        """
        owner = request.owner if who.role == "admin" else who.subject
        if who.role != "admin":
            if request.owner not in (None, who.subject) or who == ANONYMOUS:
                raise AuthError("a researcher may enrol workers of their own only", code="forbidden")
            check_width(self._settings.user_workers, request.accepts or "own")
        if owner is None and request.accepts not in (None, "all"):
            raise InputError(
                "a worker without an owner takes everybody's jobs: name the owner",
                code="no_owner",
                field="owner",
            )
        if owner is not None and who.role == "admin":
            _check_owner(owner)
        accepts = request.accepts or ("all" if owner is None else "own")
        token = new_token("e")
        ttl = request.ttl_seconds or self._settings.enroll_token_ttl_seconds
        fields = {"label": request.label or ""}
        if owner is not None:
            fields |= {"owner": owner, "accepts": accepts}
        made = await self._mint("enroll", token, ttl, fields)
        return EnrollTokenReply(
            token=token,
            token_id=id_of(token),
            expires_at=iso(made["expires"]),
            ttl_seconds=ttl,
            label=request.label,
            owner=owner,
            accepts=accepts,
        )

    async def mint_api_token(self, request: ApiTokenRequest) -> ApiTokenReply:
        """Make a token of a researcher, an observer or an administrator.

        Raises
        ------
        InputError
            ``owner_reserved``: the name stands for somebody else.
        """
        _check_owner(request.owner)
        return await self._api_token(request.owner, request.ttl_seconds or 0, request.label, request.role)

    async def _api_token(
        self, owner: str, ttl: int, label: str | None, role: PersonRole = "researcher"
    ) -> ApiTokenReply:
        token = new_token(role[0])
        fields = {"role": role, "subject": owner, "label": label or ""}
        made = await self._mint("token", token, ttl, fields)
        return ApiTokenReply(
            token=token,
            token_id=id_of(token),
            owner=owner,
            role=role,
            label=label,
            expires_at=iso(made["expires"]) if made["expires"] else None,
        )

    async def keep_login(self, who: Principal) -> ApiTokenReply:
        """Make a token for somebody whom an issuer has let in; its life is longer than that of a login.

        Raises
        ------
        AuthError
            ``forbidden``: a token is not renewed by itself.
        """
        if not who.by_issuer:
            raise AuthError("this call is for whoever has logged in at the issuer", code="forbidden")
        return await self._api_token(who.subject, self._settings.login_ttl_seconds, "login")

    async def enroll_tokens(self, who: Principal) -> list[EnrollToken]:
        """List the enroll tokens that may still be used, newest first; a researcher's own alone."""
        return [
            EnrollToken(
                token_id=record["token"][:_ID_LENGTH],
                label=record.get("label") or None,
                created_at=iso(record["created"]),
                expires_at=iso(record["expires"]),
                owner=record.get("owner"),
                accepts=record.get("accepts", "all"),
            )
            for record in await self._list("enroll")
            if who.sees in ("", record.get("owner"))
        ]

    async def api_tokens(self) -> list[ApiToken]:
        """List the tokens of people that are in force, newest first."""
        return [
            ApiToken(
                token_id=record["token"][:_ID_LENGTH],
                owner=record["subject"],
                role=record["role"],
                label=record.get("label") or None,
                created_at=iso(record["created"]),
                expires_at=iso(record["expires"]) if int(record["expires"]) else None,
            )
            for record in await self._list("token")
        ]

    async def revoke(self, who: Principal, kind: Kind, token_id: str) -> int:
        """Revoke an enroll token, or one of a person; return how many there were with this id."""
        hashes = [
            record["token"]
            for record in await self._list(kind)
            if record["token"].startswith(token_id) and who.decides_for in ("", record.get("owner"))
        ]
        if len(token_id) != _ID_LENGTH or not hashes:
            raise InputError("there is no such token", code="token_not_found", field="token_id")
        count = await self._store.delete(*(key(kind, digest) for digest in hashes))
        self._events.forget_principals()  # here at once
        await self._store.publish("principals")
        return count

    async def count_failure(self, address: str) -> int:
        """Count a failed authentication; return how many there were from this address within a minute."""
        return await self._store.count(key("failures", address), seconds=60)

    async def _mint(self, kind: Kind, token: str, ttl: int, fields: dict[str, str]) -> Minted:
        return await self._store.transition(
            Mint(kind=kind, token=hash_of(token), ttl_ms=ttl * 1000, fields=fields)
        )

    async def _list(self, kind: Kind) -> list[dict[str, str]]:
        return items((await self._store.transition(ListTokens(kind=kind)))["tokens"])


def _check_owner(owner: str) -> None:
    if owner in _RESERVED:
        raise InputError(f"the owner {owner!r} is reserved", code="owner_reserved", field="owner")


def _issuer(settings: Settings) -> Issuer | None:
    if settings.oidc_issuer is None:
        return None
    with needed_for("ZPE_OIDC_ISSUER", "PyJWT", "oidc", "jwt", "cryptography"):
        from zpe_server.issuer import Issuer

        return Issuer(settings)
