"""The connection that the commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zpe_sdk.client.blocking_client import ZPEClient


@dataclass(frozen=True)
class Connection:
    """What the command line says of the control plane."""

    url: str | None
    insecure: bool
    ca_bundle: str | None
    retry_seconds: float

    def client(self) -> ZPEClient:
        """Return a client of that control plane."""
        from zpe_sdk.client.blocking_client import ZPEClient

        return ZPEClient(
            self.url,
            insecure=self.insecure,
            ca_bundle=self.ca_bundle,
            retry_seconds=self.retry_seconds,
        )
