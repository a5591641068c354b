"""What a run says of Environ: whether it took part, and what went wrong in it."""

from __future__ import annotations

import re

from zpe_sdk.errors import ComputeError, ConfigError, InputError, ZPEError
from zpe_sdk.espresso.failures import error_box

_ENVIRON_BANNERS = {
    "3": re.compile(
        r"^ {5}={80}\n[ ]*\n {34}Environ Setup Summary\n[ ]*\n {5}={80}$",
        re.M,
    ),
    "1 or 2": re.compile(r"^ {5}Environ Module\n {5}={14}$", re.M),
}
_ENVIRON_ADDED = re.compile(r"^ {5}add environment contribution to local potential$", re.M)
_ENVIRON_IGNORED = re.compile(
    r"^(?:Environ Warning \(1001\): card (.*) ignored| {5}\* ignoring (&\w+)\b.* namelist)[ ]*$", re.M
)

_ENVIRON_READS = "\n     Reading input from environ.in:\n"
_ENVIRON_NOT_CONVERGED = re.compile(r"^ *Warning: Polarization charge not converged", re.M)


def environ_in(stdout: str) -> str | None:
    """Return the generation of Environ that took part, ``"3"`` or ``"1 or 2"``; None if it did not.

    pw.x without the plug-in passes over ``-environ`` in silence. Two things are printed by the plug-in alone:
    a headline with its rules, which no title can hold, since a title is one line; and a line each time that
    it adds its potential, without which the SCF was one in vacuum.
    """
    if not _ENVIRON_ADDED.search(stdout):
        return None
    return next((version for version, banner in _ENVIRON_BANNERS.items() if banner.search(stdout)), None)


def has_environ(stdout: str) -> bool:
    """Tell whether the plug-in read its input, or missed it: whether this pw.x has it."""
    box = error_box(stdout)
    return _ENVIRON_READS in stdout or (box is not None and "environ" in box[0])


def environ_fault(stdout: str, environ: str) -> ZPEError | None:
    """Return why a converged SCF with Environ is no result, if it is none.

    Either Environ passed over a part of its input, or in the last iteration it did not find the answer of the
    medium to the density.

    Parameters
    ----------
    stdout
        What pw.x printed.
    environ
        Environ's input.
    """
    # A namelist that is there but empty says nothing that could be lost.
    empty = {name.upper() for name in re.findall(r"^[ \t]*(&\w+)\s*/", environ, re.M)}
    said = [card or namelist.upper() for card, namelist in _ENVIRON_IGNORED.findall(stdout)]
    if ignored := [name for name in said if name not in empty]:
        return InputError(
            f"Environ passed over {' and '.join(ignored)} of its input", code="bad_input", field="environ"
        )
    if _ENVIRON_NOT_CONVERGED.search(stdout.rpartition("iteration #")[2]):
        return ComputeError(
            "Environ's polarization charge did not converge in the last iteration of the SCF",
            code="scf_not_converged",
        )
    return None


def check_environ(stdout: str, environ: str) -> None:
    """Refuse a converged SCF in which Environ should have taken part, and did not, or not as it should.

    Parameters
    ----------
    stdout, environ
        See :func:`environ_fault`.

    Raises
    ------
    ConfigError
        ``environ_missing``: this build of pw.x has no such plug-in.
    ZPEError
        See :func:`environ_fault`.
    """
    if environ_in(stdout) is None:
        raise ConfigError(
            "the job wants Environ, but pw.x took no notice of it: this build has no such plug-in",
            code="environ_missing",
            field="ZPE_PW_PATH",
        )
    if fault := environ_fault(stdout, environ):
        raise fault
