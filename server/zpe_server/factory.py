"""The application that ``zpe serve`` runs, as the environment describes it."""

from __future__ import annotations

import os
from importlib.util import find_spec

from fastapi import FastAPI

from zpe_sdk.logging import configure_logging
from zpe_server.app import create_app
from zpe_server.environment import DASHBOARD, read_settings
from zpe_server.planner import Planner


def app(planner: Planner | None = None) -> FastAPI:
    """Return the application; uvicorn's factory.

    Parameters
    ----------
    planner
        One that is being loaded already.
    """
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_json)
    assert settings.redis_url is not None
    plane = create_app(settings, settings.redis_url.get_secret_value(), planner)
    if os.environ.get(DASHBOARD) == "1" and find_spec("zpe_dashboard") and find_spec("panel"):
        from zpe_dashboard.app import connect_within, mount

        mount(
            plane,
            connect_within(plane),
            lambda: settings.login,
            issuer_ca_bundle=settings.oidc_ca_bundle,
        )
    return plane
