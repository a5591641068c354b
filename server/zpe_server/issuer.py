"""Logins of an OpenID Connect issuer: whose a token is, by the issuer's own keys."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import Any

import httpx
import jwt
import structlog

from zpe_sdk.errors import AuthError, ConfigError
from zpe_sdk.http import base_url
from zpe_sdk.transport import AsyncTransport, proxy_for, tls
from zpe_server.settings import EVERYONE, Settings

log = structlog.get_logger(__name__)

# Signatures whose key is public. With a shared secret, or none at all, anybody could sign.
_ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)] + ["EdDSA"]
_KEYS_SECONDS = 3600.0
# A key that is not known is looked for, but not for whoever makes up names of keys.
_FETCHES_PER_MINUTE = 6
_REPLY_SECONDS = 10.0
_LEEWAY_SECONDS = 30.0
_MAX_TOKEN = 16_384
_NAME = re.compile(r"[\w.@+-]{1,100}")


class Issuer:
    """Verifies the tokens of one issuer.

    Parameters
    ----------
    settings
        Issuer, audience, who is let in, and which claim is the name.

    Raises
    ------
    ConfigError
        ``bad_ca_bundle``.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.oidc_issuer is not None
        self.url = settings.oidc_issuer
        self._settings = settings
        self._keys: dict[str | None, dict[str, Any]] = {}
        self._tls = tls(settings.oidc_ca_bundle, field="ZPE_OIDC_CA_BUNDLE")
        self._fresh_until = 0.0
        self._fetches: deque[float] = deque(maxlen=_FETCHES_PER_MINUTE)
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> str:
        """Return the name of the researcher whose token this is.

        Raises
        ------
        AuthError
            ``bad_token``: not of this issuer, not for this audience, expired, forged; ``not_allowed``: its
            owner may not come in here.
        ConfigError
            ``issuer_unreachable``: its keys cannot be had.
        """
        try:
            if len(token) > _MAX_TOKEN:
                raise jwt.InvalidTokenError("too long")
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in _ALGORITHMS:
                raise jwt.InvalidAlgorithmError("not signed with a key that is public")
            known = await self._key(header.get("kid"))
            if known.get("alg", header["alg"]) != header["alg"]:
                raise jwt.InvalidAlgorithmError("not signed as the issuer's key says")
            claims: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(known, algorithm=header["alg"]),
                algorithms=[header["alg"]],
                audience=self._settings.oidc_audience,
                issuer=self.url,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise AuthError("this login has expired; log in again", code="bad_token") from None
        except (jwt.PyJWTError, RecursionError) as error:  # a header may be nested without end
            log.warning("a token of an issuer was refused", reason=type(error).__name__)
            raise AuthError("this token is unknown, expired or revoked", code="bad_token") from None
        return self._name(claims)

    def _name(self, claims: dict[str, Any]) -> str:
        """Return the name that a token's owner has here, if they may come in."""
        claim = self._settings.oidc_name_claim
        name = claims.get(claim)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise AuthError(f"the token names nobody: no usable claim {claim!r}", code="not_allowed")
        if claim == "email" and claims.get("email_verified") is not True:
            raise AuthError("the issuer has not verified this e-mail address", code="not_allowed")
        if "@" in name:
            name = name.lower()
        domain = "@" + name.rpartition("@")[2] if "@" in name else None
        allowed = self._settings.oidc_allowed
        if EVERYONE in allowed or name in allowed or domain in allowed:
            return name
        raise AuthError(f"{name} may not come in here; ask an administrator", code="not_allowed")

    async def _key(self, kid: str | None) -> dict[str, Any]:
        if time.monotonic() > self._fresh_until or kid not in self._keys:
            await self._refresh(kid)
        if kid not in self._keys:
            raise jwt.InvalidTokenError("signed with a key that the issuer does not have")
        return self._keys[kid]

    async def _refresh(self, kid: str | None) -> None:
        async with self._fetching:
            now = time.monotonic()
            stale = now > self._fresh_until
            if not stale and kid in self._keys:  # another request has fetched them meanwhile
                return
            if len(self._fetches) == _FETCHES_PER_MINUTE and now - self._fetches[0] < 60:
                return
            self._fetches.append(now)
            try:
                self._keys = await self._fetch()
                self._fresh_until = now + _KEYS_SECONDS
            except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
                reason = f"{type(error).__name__}: {error}"
                log.warning("the issuer's keys cannot be had", issuer=self.url, reason=reason)
                if kid in self._keys:  # an issuer that is away for a moment shuts nobody out
                    return
                raise ConfigError(
                    "the keys of the login's issuer cannot be had now; try again later",
                    code="issuer_unreachable",
                ) from None

    async def _fetch(self) -> dict[str | None, dict[str, Any]]:
        """Return the issuer's keys for signatures, by their names."""

        async def get(url: str) -> dict[str, Any]:
            proxy = proxy_for(base_url(url))  # over plain HTTP from this machine only
            transport = AsyncTransport(proxy=proxy, verify=self._tls, trust_env=False)
            async with httpx.AsyncClient(timeout=_REPLY_SECONDS, transport=transport) as client:
                found: dict[str, Any] = (await client.get(url)).raise_for_status().json()
            return found

        about = await get(f"{self.url.rstrip('/')}/.well-known/openid-configuration")
        if about["issuer"] != self.url:
            raise ValueError("another issuer answers there")
        keys = (await get(about["jwks_uri"]))["keys"]
        return {
            key.get("kid"): key
            for key in keys
            if key.get("use", "sig") == "sig" and key.get("kty") in ("RSA", "EC", "OKP")
        }
