"""An OpenID Connect issuer on loopback: real keys, real signatures, and the device flow."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "zpe"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public(key: Key) -> dict[str, Any]:
    """Return the public half of a key as a JWK."""
    if isinstance(key, rsa.RSAPrivateKey):
        return dict(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))
    return dict(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True))


class Issuer:
    """Answers discovery, keys and the device flow, and signs.

    Attributes
    ----------
    keys
        By name; the first is signed with.
    asked
        How often each path was asked for.
    answers
        What the token endpoint says, one after the other; then it grants.

    Parameters
    ----------
    tls
        With what it answers over TLS; None: over plain HTTP.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.keys: dict[str, Key] = {"first": rsa_key()}
        self.asked: Counter[str] = Counter()
        self.answers: list[str] = []
        self.away = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(*issuer.get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._reply(*issuer.post(self.path, {k: v[0] for k, v in parse_qs(body).items()}))

            def _reply(self, status: int, body: Mapping[str, Any]) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/realms/lab"

    @property
    def settings(self) -> dict[str, object]:
        """Settings of a control plane that lets its people in."""
        return {
            "ZPE_OIDC_ISSUER": self.url,
            "ZPE_OIDC_AUDIENCE": AUDIENCE,
            "ZPE_OIDC_ALLOWED": "@example.org",
            "ZPE_OIDC_CLIENT_ID": "zpe-cli",
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def get(self, path: str) -> tuple[int, Mapping[str, Any]]:
        self.asked[path.rpartition("/")[2]] += 1
        if self.away:
            return 503, {}
        if path.endswith("openid-configuration"):
            return 200, {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "device_authorization_endpoint": f"{self.url}/device",
                "token_endpoint": f"{self.url}/token",
            }
        return 200, {"keys": [{"kid": name, "use": "sig", **public(key)} for name, key in self.keys.items()]}

    def post(self, path: str, fields: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        self.asked[path.rpartition("/")[2]] += 1
        if path.endswith("/device"):
            assert fields == {"client_id": "zpe-cli", "scope": "openid email"}
            return 200, {
                "device_code": "secret-device-code",
                "user_code": "WDJB-MJHT",
                "verification_uri": f"{self.url}/activate",
                "expires_in": 600,
                "interval": 0,
            }
        assert fields["grant_type"] == "urn:ietf:params:oauth:grant-type:device_code"
        assert (fields["client_id"], fields["device_code"]) == ("zpe-cli", "secret-device-code")
        if self.answers:
            return 400, {"error": self.answers.pop(0)}
        return 200, {"access_token": "opaque", "id_token": self.token()}

    def token(
        self,
        key: Key | str | None = None,
        algorithm: str | None = None,
        headers: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a token for Ann, signed with the first key unless told otherwise; None leaves one out."""
        name = next(iter(self.keys))
        key = self.keys[name] if key is None else key
        usual = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "1234",
            "email": "ann@example.org",
            "email_verified": True,
            "exp": int(time.time()) + 600,
        }
        wanted = {claim: value for claim, value in (usual | claims).items() if value is not None}
        of_key = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(
            wanted, key, algorithm=algorithm or of_key, headers={"kid": name, **(headers or {})}
        )
