"""Zero-point energies from Quantum ESPRESSO, computed on other people's computers."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from zpe_sdk.errors import AuthError, ComputeError, ConfigError, InputError, StoreError, ZPEError
from zpe_sdk.version import __version__ as __version__

if TYPE_CHECKING:
    from zpe_sdk.client.archive import read_archive
    from zpe_sdk.client.async_client import AsyncZPEClient
    from zpe_sdk.client.async_job import AsyncJob
    from zpe_sdk.client.blocking_client import ZPEClient
    from zpe_sdk.client.job import Job, as_completed, wait_all
    from zpe_sdk.result.bare import BareResult
    from zpe_sdk.result.free_energy import step_diagram
    from zpe_sdk.result.kinds import read_result
    from zpe_sdk.result.models import Hindered, IdealGas, QuasiHarmonic
    from zpe_sdk.result.reaction import reaction
    from zpe_sdk.result.result import ZPEResult
    from zpe_sdk.result.structure import EnergyResult, RelaxationResult
    from zpe_sdk.result.tables import as_dataset, as_table, modes_table

# httpx imports its own command line wherever rich is installed: a fifth of the time until `zpe jobs` asks.
# Marked as absent, httpx does without.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

__all__ = [
    "AsyncJob",
    "AsyncZPEClient",
    "AuthError",
    "BareResult",
    "ComputeError",
    "ConfigError",
    "EnergyResult",
    "Hindered",
    "IdealGas",
    "InputError",
    "Job",
    "QuasiHarmonic",
    "RelaxationResult",
    "StoreError",
    "ZPEClient",
    "ZPEError",
    "ZPEResult",
    "as_completed",
    "as_dataset",
    "as_table",
    "modes_table",
    "reaction",
    "read_archive",
    "read_result",
    "step_diagram",
    "wait_all",
]
_MODULES = {
    "AsyncZPEClient": "client.async_client",
    "ZPEClient": "client.blocking_client",
    "AsyncJob": "client.async_job",
    "BareResult": "result.bare",
    "Job": "client.job",
    "EnergyResult": "result.structure",
    "Hindered": "result.models",
    "IdealGas": "result.models",
    "QuasiHarmonic": "result.models",
    "RelaxationResult": "result.structure",
    "ZPEResult": "result.result",
    "as_completed": "client.job",
    "as_dataset": "result.tables",
    "as_table": "result.tables",
    "modes_table": "result.tables",
    "reaction": "result.reaction",
    "read_archive": "client.archive",
    "read_result": "result.kinds",
    "step_diagram": "result.free_energy",
    "wait_all": "client.job",
}


def __getattr__(name: str) -> Any:
    # The control plane, the workers and the command line need this package, and not what these import.
    if name in _MODULES:
        return getattr(import_module(f"zpe_sdk.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
