"""The connection that the commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from zpe_sdk.client.blocking_client import ZPEClient


@dataclass(frozen=True)
class Connection:
    """What the command line says of the control plane."""

    url: str | None
    insecure: bool
    ca_bundle: str | None
    retry_seconds: float


def connected(context: typer.Context) -> ZPEClient:
    """Return a client of the control plane that the command line names."""
    from zpe_sdk.client.blocking_client import ZPEClient

    connection: Connection = context.obj
    return ZPEClient(
        connection.url,
        insecure=connection.insecure,
        ca_bundle=connection.ca_bundle,
        retry_seconds=connection.retry_seconds,
    )
