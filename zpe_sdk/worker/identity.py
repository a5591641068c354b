"""Who a worker is: enrolled once, remembered on disk, its token renewed long before it ends."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
import time
from getpass import getpass
from pathlib import Path

import structlog
from pydantic import BaseModel, SecretStr, ValidationError, field_serializer

from zpe_sdk.errors import AuthError, ConfigError
from zpe_sdk.http import is_token
from zpe_sdk.wire import Capabilities, RegisterRequest
from zpe_sdk.worker.control import ControlPlane
from zpe_sdk.worker.files import write_durably
from zpe_sdk.worker.settings import WorkerSettings

# More than an identity takes.
_ROOM_BYTES = 4096

log = structlog.get_logger(__name__)


class Identity(BaseModel):
    """What ``WORK_DIR/identity.json`` keeps.

    Attributes
    ----------
    control_url
        The control plane that knows this worker: no other gets the token.
    enrolled_with
        SHA-256 of the enroll token: the same one, given again after a restart, is no wish to enrol anew.
    received
        When the token came, by this machine's clock: only its own clock measures the token's age.
    """

    control_url: str
    server_id: str
    enrolled_with: str
    worker_token: SecretStr
    received: float
    token_ttl_seconds: float

    @field_serializer("worker_token", when_used="json")
    def _in_clear(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Credentials:
    """Gives the control plane's client its token and keeps it fresh.

    Parameters
    ----------
    settings
        A worker token to use as it is, or an enroll token, or neither if the worker enrolled before.
    control
        The client that gets the token.
    """

    def __init__(self, settings: WorkerSettings, control: ControlPlane) -> None:
        self._settings = settings
        self._control = control
        self._path = settings.work_dir / "identity.json"
        self._identity: Identity | None = None
        self._kept = True  # what the disk has is what this process has

    def establish(self, capabilities: Capabilities) -> None:
        """Find the worker's token, or enrol for one.

        Raises
        ------
        AuthError
            ``not_enrolled``: there is nothing to enrol with; ``bad_enroll_token``.
        ConfigError
            ``bad_enroll_file``, ``bad_identity_file``, or ``bad_work_dir``: there is no room for an identity.
        """
        if self._settings.worker_token:
            self._control.token = _plain(self._settings.worker_token.get_secret_value(), "ZPE_WORKER_TOKEN")
            return
        self._identity = self._remembered() or self._enrol(capabilities)
        self._control.token = self._identity.worker_token.get_secret_value()

    def rotate_if_due(self) -> None:
        """Exchange the token for a new one at half of its life, or later while there is no room to keep one.

        What could not be written is written as soon as there is room.
        """
        mine = self._identity
        if mine is None:
            return
        age = abs(time.time() - mine.received) / mine.token_ttl_seconds
        if self._kept and age < 0.5:
            return
        # A new token that is in memory alone is lost with this process: the old one serves while it lasts.
        if age < (0.5 if self._keep(mine) else 0.9):
            return
        reply = self._control.rotate_token()
        self._control.token = reply.worker_token
        self._identity = mine.model_copy(
            update={
                "worker_token": SecretStr(reply.worker_token),
                "received": time.time(),
                "token_ttl_seconds": reply.token_ttl_seconds,
            }
        )
        self._keep(self._identity)
        log.info("the worker's token was renewed", expires=reply.token_expires_at)

    def _remembered(self) -> Identity | None:
        try:
            identity = Identity.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            # What the file holds may be a token: not a word of it here.
            raise ConfigError(
                f"{self._path} cannot be read; remove it and enrol with a new token",
                code="bad_identity_file",
                field="ZPE_WORK_DIR",
            ) from None
        if identity.control_url.rstrip("/") != str(self._control.url).rstrip("/"):
            return None
        if self._asks:  # for the first start, and nobody is there at a restart
            return identity
        try:
            enroll_token = self._enroll_token()
        except ConfigError as error:  # used once, an enroll file may go
            log.info("this worker is enrolled; it does without the enroll file", reason=str(error))
            return identity
        if enroll_token is not None and _sha256(enroll_token) != identity.enrolled_with:
            return None
        return identity

    def _enrol(self, capabilities: Capabilities) -> Identity:
        enroll_token = self._enroll_token()
        if enroll_token is None:
            raise AuthError(
                f"this worker is not enrolled at {self._control.url}: mint an enroll token with `zpe "
                "workers enroll-token`, or ask an administrator for one, and give it with --enroll-file: a "
                "file, or - to be asked for it",
                code="not_enrolled",
                field="ZPE_ENROLL_FILE",
            )
        meta = {
            "host": platform.node(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "engine": capabilities.engine,
            "engine_version": capabilities.engine_version,
        }
        request = RegisterRequest(token=enroll_token, name=self._settings.worker_name, meta=meta)
        try:
            # Room for the identity is held before the enroll token is used up.
            with tempfile.TemporaryFile(dir=self._path.parent) as room:
                room.write(bytes(_ROOM_BYTES))
                room.flush()
                os.fsync(room.fileno())
                reply = self._control.register(request)
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be written: {error.strerror}; the enroll token was not used",
                code="bad_work_dir",
                field="ZPE_WORK_DIR",
            ) from None
        identity = Identity(
            control_url=str(self._control.url),
            server_id=reply.server_id,
            enrolled_with=_sha256(enroll_token),
            worker_token=SecretStr(reply.worker_token),
            received=time.time(),
            token_ttl_seconds=reply.token_ttl_seconds,
        )
        self._keep(identity)
        log.info(
            "enrolled",
            server_id=reply.server_id,
            name=self._settings.worker_name,
            owner=reply.owner,
            accepts=reply.accepts,
        )
        return identity

    def _keep(self, identity: Identity) -> bool:
        """Write the identity to disk, and return whether that was possible."""
        before = self._kept
        try:
            write_durably(self._path, identity.model_dump_json())
            self._kept = True
        except OSError as error:
            self._kept = False
            if before:
                log.warning(
                    "the worker's identity cannot be written; the next heartbeat tries again",
                    reason=str(error),
                )
        return self._kept

    def _enroll_token(self) -> str | None:
        if self._settings.enroll_token:
            return _plain(self._settings.enroll_token.get_secret_value(), "ZPE_ENROLL_TOKEN")
        if self._asks:
            return _plain(_asked(), "ZPE_ENROLL_FILE")
        file = self._settings.enroll_file
        return _plain(_read(file), "ZPE_ENROLL_FILE") if file else None

    @property
    def _asks(self) -> bool:
        """Whether the enroll token comes from standard input."""
        return self._settings.enroll_file == Path("-")


def _asked() -> str:
    return getpass("Enroll token: ") if sys.stdin.isatty() else sys.stdin.readline()


def _read(file: Path) -> str:
    try:
        return file.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the enroll token cannot be read from {file}: {type(error).__name__}",
            code="bad_enroll_file",
            field="ZPE_ENROLL_FILE",
        ) from None


def _plain(token: str, field: str) -> str:
    """Return the token without blanks around it."""
    token = token.strip()
    if not is_token(token):
        raise AuthError(
            "the token is empty, or holds what no token has; copy it again", code="bad_token", field=field
        )
    return token


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
