"""Settings of the control plane: command-line options win over environment variables (prefix ``ZPE_``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from zpe_sdk.errors import ConfigError
from zpe_sdk.http import base_url, is_token
from zpe_sdk.logging import Level
from zpe_sdk.wire import EngineName, Limits, LoginOptions
from zpe_sdk.wire.jobs import Cutoff, Delta, Temperature
from zpe_server.transitions.leases import Retry

# Among the origins: any port of this machine.
LOOPBACK = "loopback"
# Among those whom an issuer lets in: whoever it knows.
EVERYONE = "everyone"
# What administrators can be told of.
Notable = Literal["finished", "failed", "worker_lost"]
# What researchers may enrol: nothing, or workers that accept so much at most.
UserWorkers = Literal["off", "own", "group", "all"]
Seconds = Annotated[int, Field(gt=0, le=10 * 365 * 86400)]


def _by_commas(given: str | Sequence[str]) -> list[str]:
    """Return the parts of a setting with several values."""
    parts = given.split(",") if isinstance(given, str) else given
    return [part for part in map(str.strip, parts) if part]


class Settings(BaseSettings):
    """All that the control plane can be told.

    Attributes
    ----------
    compute_mode
        Who runs the SCFs; ``remote-http``: workers that lease them over HTTPS; ``remote-queue``: RQ's workers
        on trusted hosts; ``local``: a worker on this machine, which the control plane starts; ``mock``:
        springs in the control plane itself.
    result_store
        Where results, summaries and frequencies are kept.
    s3_bucket, s3_prefix, s3_endpoint, s3_region
        For ``s3``: where the bucket is. Credentials come from AWS's own variables (``AWS_ACCESS_KEY_ID`` …).
    redis_url
        Redis to use; unset: an embedded one of our own, with its data in ``data_dir``.
    data_dir
        Folder of all that this machine keeps: the embedded Redis, tokens made by ``--dev``.
    admin_token
        The administrator's token; unset: all admin calls answer 403.
    metrics_token
        A token that may read ``/metrics`` and nothing else; the administrator's may too.
    user_workers
        Whether researchers may enrol workers of their own, and whose jobs these may take at most: ``off``,
        ``own``, ``group`` (of the groups that the owner is in) or ``all``.
    quota_jobs, quota_scfs, quota_bytes
        What each researcher may have: jobs queued or started, SCFs running at once on workers of others,
        bytes kept of requests and results; unset: no limit. Administrators say otherwise for
        single researchers.
    researcher_auth
        False lets anybody submit jobs and read results, as owner ``anonymous``: for a trusted network.
    cors_origins
        Origins, separated by commas, whose web pages may call the API from a browser, such as
        ``https://ui.example.org``; ``loopback`` is any port of this machine, and the default with ``--dev``.
    notify
        Who hears of jobs and workers, as URLs of Apprise separated by spaces or commas, such as
        ``mailtos://user:password@example.org`` or ``jsons://example.org/hook``; they may hold passwords.
    notify_on
        Of what, separated by commas: ``failed`` and ``finished`` (jobs), ``worker_lost`` (with work in hand).
    oidc_issuer
        Issuer of OpenID Connect whose tokens are let in, e.g. ``https://login.example.org/realms/lab``.
    oidc_audience
        The audience that its tokens must be for.
    oidc_allowed
        Whose tokens, separated by commas: names, domains such as ``@example.org``, or ``everyone``.
    oidc_name_claim
        The claim that is the researcher's name; of ``email``, only an address that the issuer has verified.
    oidc_ca_bundle
        PEM file of the private authority that has signed the issuer's certificate; unset: the usual ones.
    oidc_client_id, oidc_scope, oidc_token
        For ``zpe login``: its client id at the issuer, what it asks for, and which of the tokens it gets is
        for the control plane.
    login_ttl_seconds
        Life of the token that ``zpe login`` gets for such a login.
    enroll_token_ttl_seconds, worker_token_ttl_seconds
        Life of an enroll token, and of a worker token unless it is rotated.
    lease_ttl_seconds
        A lease ends when its worker has not been heard of for so long.
    retry_max, retry_base_delay_seconds, retry_max_delay_seconds
        A task is tried again so often, after min(max, base · 2^(n−1)) seconds.
    result_ttl_seconds
        Finished and cancelled jobs, with their results, are forgotten after so long.
    max_body_bytes, max_result_bytes
        Largest request; largest result document that is kept in Redis.
    default_engine
        Who computes the jobs that do not say it: ``espresso`` (pw.x) or ``mock`` (springs); default: ``mock``
        where ``compute_mode`` is, else ``espresso``.
    delta, low_cut_cm, temperature
        Defaults of a job: displacement (Å), cutoff of modes (cm⁻¹), temperature (K).
    max_scf_seconds
        The longest that an SCF may take, if a job does not say.
    """

    model_config = SettingsConfigDict(env_prefix="ZPE_", env_ignore_empty=True, hide_input_in_errors=True)

    compute_mode: Literal["remote-http", "remote-queue", "local", "mock"] = "remote-http"
    result_store: Literal["redis", "s3"] = "redis"
    redis_url: SecretStr | None = None
    data_dir: Path = Path("zpe-data")

    s3_bucket: str = ""
    s3_prefix: str = "zpe"
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"

    admin_token: SecretStr | None = None
    metrics_token: SecretStr | None = None
    user_workers: UserWorkers = "off"
    quota_jobs: Annotated[int, Field(gt=0)] | None = None
    quota_scfs: Annotated[int, Field(gt=0)] | None = None
    quota_bytes: Annotated[int, Field(gt=0)] | None = None
    researcher_auth: bool = True
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    notify: SecretStr | None = None
    notify_on: Annotated[tuple[Notable, ...], NoDecode] = ("failed", "worker_lost")
    oidc_issuer: str | None = None
    oidc_audience: str = ""
    oidc_allowed: Annotated[tuple[str, ...], NoDecode] = ()
    oidc_name_claim: str = "email"
    oidc_ca_bundle: Path | None = None
    oidc_client_id: str = ""
    oidc_scope: str = "openid email"
    oidc_token: Literal["id_token", "access_token"] = "id_token"
    login_ttl_seconds: Seconds = 7 * 86400
    enroll_token_ttl_seconds: Seconds = 3600
    worker_token_ttl_seconds: Seconds = 7 * 86400
    worker_token_grace_seconds: Seconds = 86400
    failed_logins_per_minute: Annotated[int, Field(gt=0)] = 30

    lease_ttl_seconds: Annotated[float, Field(gt=0, le=86400)] = 600
    retry_max: Annotated[int, Field(ge=0, le=100)] = 3
    retry_base_delay_seconds: Annotated[float, Field(ge=0, le=86400)] = 10
    retry_max_delay_seconds: Annotated[float, Field(ge=0, le=86400)] = 300

    result_ttl_seconds: Seconds = 7 * 86400
    idempotency_ttl_seconds: Seconds = 86400
    max_body_bytes: Annotated[int, Field(gt=0)] = 64 * 2**20
    max_result_bytes: Annotated[int, Field(gt=0)] = 16 * 2**20

    default_engine: EngineName | None = None
    delta: Delta = 0.01
    low_cut_cm: Cutoff = 50.0
    temperature: Temperature = 298.15
    max_scf_seconds: Seconds = 7 * 86400

    log_level: Level = "INFO"
    log_json: bool | None = None

    @field_validator("admin_token", "metrics_token")
    @classmethod
    def _long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < 20:
            raise ValueError("at least 20 characters are needed; try: openssl rand -hex 32")
        if token is not None and not is_token(token.get_secret_value()):
            raise ValueError("only ASCII letters, digits and signs are possible; try: openssl rand -hex 32")
        return token

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _are_origins(cls, given: str | Sequence[str]) -> Sequence[str]:
        origins = [part.rstrip("/") for part in _by_commas(given)]
        for origin in origins:
            url = urlsplit(origin)
            if origin != LOOPBACK and (
                url.scheme not in ("http", "https")
                or not url.hostname
                or origin != f"{url.scheme}://{url.netloc}"
            ):
                # "*" too: whoever may call is named.
                raise ValueError(
                    "each must be an origin, scheme, host and port as in https://ui.example.org:8443, "
                    f"or {LOOPBACK}"
                )
        return origins

    @field_validator("notify_on", mode="before")
    @classmethod
    def _are_listed(cls, given: str | Sequence[str]) -> Sequence[str]:
        return _by_commas(given)

    @field_validator("oidc_allowed", mode="before")
    @classmethod
    def _are_allowed(cls, given: str | Sequence[str]) -> Sequence[str]:
        # Addresses are compared in small letters.
        return [part.lower() if "@" in part else part for part in _by_commas(given)]

    @field_validator("oidc_issuer")
    @classmethod
    def _is_issuer(cls, url: str | None) -> str | None:
        if url is not None:
            try:
                base_url(url)
            except ConfigError:
                raise ValueError("must look like https://login.example.org/realms/lab") from None
        return url

    @model_validator(mode="after")
    def _issuer_is_bounded(self) -> Settings:
        if self.oidc_issuer and not (self.oidc_audience and self.oidc_allowed):
            raise ValueError("ZPE_OIDC_ISSUER needs ZPE_OIDC_AUDIENCE and ZPE_OIDC_ALLOWED")
        return self

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        import redis  # planning needs the settings too, in a process without a store

        try:
            # A password with a slash in it makes a part of it a port or a path.
            parts = urlsplit(url.get_secret_value())
            bad = parts.scheme != "unix" and "@" in parts.path
            redis.ConnectionPool.from_url(url.get_secret_value()).make_connection()
        except (ValueError, TypeError, redis.RedisError):
            bad = True
        if bad:  # without a word of what it is, since it may hold a password
            raise ValueError(
                "is no URL of a Redis such as redis://:password@host:6379/0 or unix:///path/redis.sock; "
                "in a password, write / as %2F, @ as %40, : as %3A, % as %25"
            )
        return url

    @field_validator("s3_endpoint")
    @classmethod
    def _is_plain_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must look like https://s3.example.org, without a user name and a password")
        return url

    @model_validator(mode="after")
    def _bucket_for_s3(self) -> Settings:
        if self.result_store == "s3" and not self.s3_bucket:
            raise ValueError("ZPE_RESULT_STORE=s3 needs ZPE_S3_BUCKET")
        return self

    @model_validator(mode="after")
    def _redis_for_rq(self) -> Settings:
        if self.compute_mode == "remote-queue" and self.redis_url is None:
            raise ValueError("ZPE_COMPUTE_MODE=remote-queue needs ZPE_REDIS_URL: RQ's workers reach no other")
        return self

    @property
    def engine(self) -> EngineName:
        """Who computes the jobs that do not say it."""
        return self.default_engine or ("mock" if self.compute_mode == "mock" else "espresso")

    @property
    def login(self) -> LoginOptions:
        """How researchers log in."""
        return LoginOptions(
            issuer=self.oidc_issuer,
            client_id=self.oidc_client_id,
            scope=self.oidc_scope,
            token=self.oidc_token,
        )

    @property
    def limits(self) -> Limits:
        """What goes for all researchers of whom administrators say nothing else."""
        return Limits(priority=0, jobs=self.quota_jobs, scfs=self.quota_scfs, bytes=self.quota_bytes)

    def retry(self, jitter: float) -> Retry:
        """Return when an SCF is tried again; ``jitter`` is in [0, 1)."""
        return Retry(
            max=self.retry_max,
            base_ms=self.retry_base_delay_seconds * 1000,
            max_ms=self.retry_max_delay_seconds * 1000,
            jitter=jitter,
        )
