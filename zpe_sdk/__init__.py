"""Zero-point energies from Quantum ESPRESSO, computed on other people's computers."""

from zpe_sdk.errors import AuthError, ComputeError, ConfigError, InputError, StoreError, ZPEError

__all__ = ["AuthError", "ComputeError", "ConfigError", "InputError", "StoreError", "ZPEError"]
__version__ = "0.1.0"
