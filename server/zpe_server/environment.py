"""What the environment tells: the settings, and what ``zpe serve`` says to its own processes."""

from __future__ import annotations

from pydantic import ValidationError

from zpe_sdk.errors import ConfigError
from zpe_sdk.wire.messages import in_words
from zpe_server.settings import Settings

# The Redis that the first process of a `zpe serve` has started.
REDIS_URL = "ZPE_REDIS_URL"
# Whether the dashboard is there too: its sessions are in the memory of one process.
DASHBOARD = "ZPE_DASHBOARD"
# Where this control plane listens.
LOCAL_URL = "ZPE_LOCAL_URL"


def read_settings() -> Settings:
    """Return the settings that the environment holds.

    Raises
    ------
    ConfigError
        ``bad_setting``.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "ZPE_" + "_".join(str(part) for part in first["loc"]).upper() if first["loc"] else None
        text = in_words(first)
        message = f"{name}: {text}" if name else text
        raise ConfigError(message, code="bad_setting", field=name) from None
