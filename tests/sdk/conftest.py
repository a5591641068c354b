"""What the tests of the client share: a control plane with a worker, and who calls it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import ControlPlane
from zpe_sdk import ZPEClient


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """A control plane with one worker; a module that needs others overrides this."""
    control_plane.worker()
    return control_plane


@pytest.fixture(scope="module")
def token(plane: ControlPlane) -> str:
    """A researcher's."""
    return plane.researcher_token("ada")


@pytest.fixture
def client(plane: ControlPlane, token: str) -> Iterator[ZPEClient]:
    with ZPEClient(plane.url, token) as client:
        yield client


@pytest.fixture
def admin(plane: ControlPlane) -> Iterator[ZPEClient]:
    with ZPEClient(plane.url, plane.admin_token) as client:
        yield client


@pytest.fixture
def paused(admin: ZPEClient) -> Iterator[None]:
    """Workers get nothing while the test runs."""
    admin.admin.set_flags(dequeue_enabled=False)
    yield
    admin.admin.set_flags(dequeue_enabled=True)
