"""The version of zpe, where everything finds it."""

__version__ = "0.1.0"
