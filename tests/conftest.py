"""Fixtures of all tests: real processes, a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import reaper
from tests.processes import ControlPlane, Process, RedisServer

# Tests of the SDK with the lowest versions of what it needs have no browser.
if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_sessionstart() -> None:
    """Whatever a test starts ends with the run at the latest, also if somebody kills the run."""
    reaper.watch()


@pytest.fixture(autouse=True)
def _only_what_runs() -> None:
    """Forget the processes that ended in earlier tests: they say nothing of this one."""
    Process.started[:] = [process for process in Process.started if process.poll() is None]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis in cluster mode, for what must run there too."""
    server = RedisServer(tmp_path_factory.mktemp("cluster"), cluster=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    """Settings of a module's control plane; a module that needs others overrides this."""
    return {}


@pytest.fixture(scope="module")
def control_plane(
    tmp_path_factory: pytest.TempPathFactory, plane_settings: dict[str, object]
) -> Iterator[ControlPlane]:
    """A control plane that the tests of a module share."""
    plane = ControlPlane(tmp_path_factory.mktemp("plane"), plane_settings)
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture
def own_control_plane(tmp_path: Path) -> Iterator[Callable[..., ControlPlane]]:
    """Start control planes for one test, with settings of its own: ``own_control_plane(ZPE_...=...)``."""
    started: list[ControlPlane] = []

    def start(**settings: object) -> ControlPlane:
        plane = ControlPlane(tmp_path / f"plane{len(started)}", settings)
        started.append(plane)
        plane.start()
        return plane

    yield start
    for plane in started:
        plane.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser that the tests of a module share; no longer, because its event loop bars those of others."""
    from tests.browser import chromium as a_browser

    with a_browser() as running:
        yield running
