"""Zero-point energies from Quantum ESPRESSO, computed on other people's computers."""

from zpe_sdk.client import AsyncZPEClient, ZPEClient
from zpe_sdk.errors import AuthError, ComputeError, ConfigError, InputError, StoreError, ZPEError
from zpe_sdk.job import AsyncJob, Job
from zpe_sdk.result import ZPEResult

__all__ = [
    "AsyncJob",
    "AsyncZPEClient",
    "AuthError",
    "ComputeError",
    "ConfigError",
    "InputError",
    "Job",
    "StoreError",
    "ZPEClient",
    "ZPEError",
    "ZPEResult",
]
__version__ = "0.1.0"
