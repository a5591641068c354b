"""The connection that the commands share."""

from __future__ import annotations

import os
from dataclasses import dataclass

from zpe_sdk.client import ZPEClient


@dataclass(frozen=True)
class Connection:
    """What the command line says of the control plane."""

    url: str | None
    insecure: bool
    ca_bundle: str | None

    def client(self) -> ZPEClient:
        """Return a client of that control plane."""
        return ZPEClient(
            self.url,
            insecure=self.insecure,
            ca_bundle=self.ca_bundle,
            # Somebody is sitting in front of it: less patience than in a notebook.
            retry_seconds=float(os.environ.get("ZPE_RETRY_SECONDS") or 10.0),
        )
