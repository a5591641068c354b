"""What pw.x says beside its results: that it ignored something of the input, and its warnings.

pw.x warns in three forms: a line that begins with "Warning", a "Message from routine", and some lines of
their own. Those that tell nothing about the result are left out: that a form of the input is out of date, how
the run was spread over processors, restarts, where symmetry is not used, and what concerns the stress or
moving ions.
"""

from __future__ import annotations

import re

from zpe_sdk.errors import ConfigError, InputError, ZPEError
from zpe_sdk.espresso.fortran import real

MAX_WARNINGS, MAX_CHARACTERS = 20, 500  # as in a TaskReport
# Electrons per cell. Less is what augmentation charges leave on a finite grid.
NEGATIVE_RHO = 0.01

_CARD = re.compile(r"^Warning: card (.*) ignored[ \t]*$", re.M)
_MESSAGE = re.compile(r"^ +Message from routine +(.*?) *:[ \t]*\n[ \t]*(\S.*)$", re.M)
_LINE = re.compile(
    r"^[ \t*]*((?:(?:Serious )?warning\b|.*\bBEWARE\b|Results likely inaccurate|Possible cause: smearing"
    r"|c_bands: +\d+ eigenvalues not converged).*)$",
    re.M | re.I,
)
_NEGATIVE = re.compile(r"^ +negative rho \(up, ?down\): +(\S+) +(\S+)", re.M)
_NOTHING_TOLD = re.compile(
    r"DEPRECATED|obsolete|DISCOURAGED|no reason to have ecutrho"
    r"|restart|not guaranteed to be safe|spoil|file not found|to file|HDF5|unit already|minimal I/O"
    r"|wf_collect|qexsd_readschema"
    r"|processors|paralleli[sz]ation|some nodes|GPU|check_stop|G-vectors|[Cc]onversion"
    r"|[Nn]ot a group|form a group|symmetr|fractional translation|not compatible with FFT grid"
    r"|stress|dynamics|velocities|trust|history|bfgs|Variable cell|ibrav for lattice|units? (?:set|specified)"
    r"|molecular name|default density|mixing_mode|diago_\w+=|extrapolation",
)
# In words of a message that is not left out: a part of the input has had no effect.
_IGNORED = re.compile(r"\bignored\b|No vdw correction used")


def ignored(stdout: str) -> ZPEError | None:
    """Return the failure of a run in which pw.x passed over a part of its input; None if it did not.

    Returns
    -------
    ConfigError
        ``input_ignored``: a card, or a value, that this version of pw.x does not know; another one may.
    InputError
        ``input_ignored``: what no version would use.
    """
    version = re.search(r"Program PWSCF v\.\s*(\S+)", stdout)
    program = f"pw.x {version[1]}" if version else "pw.x"
    # To pw.x, a comment that does not begin its line is a card too.
    cards = [line for card in _CARD.findall(stdout) if (line := card.strip(" \t/")) and line[0] not in "!#"]
    if cards:
        # The lines of an unknown card follow it, and each is taken for one.
        name = re.split(r"[\s({]", cards[0], maxsplit=1)[0]
        if re.fullmatch(r"[A-Z_]{3,}", name):
            return ConfigError(
                f"{program} does not know the card {name} and ignored it: the forces are of another input",
                code="input_ignored",
                field=name,
            )
        return InputError(
            f"{program} ignored the line {cards[0][:80]!r} (it prints capitals), which belongs to no card",
            code="input_ignored",
        )
    for message in _messages(stdout):
        if _IGNORED.search(message):
            kind = ConfigError if "unknown" in message else InputError
            return kind(f"{program} ignored a part of the input: {message}", code="input_ignored")
    return None


def warnings(stdout: str) -> list[str]:
    """Return pw.x's own warnings that tell something about the result, each once, in the words of pw.x."""
    # What went wrong in an early iteration was mended by the later ones; of the last it stays.
    before, _, iterations = stdout.partition("     iteration #")
    last = iterations.rpartition("     iteration #")[2]
    found = _messages(before) + _messages(last)
    if negative := _NEGATIVE.findall(last):
        up, down = (abs(real(number)) for number in negative[-1])
        if max(up, down) > NEGATIVE_RHO:
            found.append(f"negative rho (up, down): {up:.2g} {down:.2g} electrons")
    return [text[:MAX_CHARACTERS] for text in dict.fromkeys(found)][:MAX_WARNINGS]


def _messages(stdout: str) -> list[str]:
    """Return the messages and warnings of pw.x but for those that tell nothing about the result."""
    boxes = [f"{routine}: {' '.join(text.split())}" for routine, text in _MESSAGE.findall(stdout)]
    lines = [" ".join(line.split()) for line in _LINE.findall(_MESSAGE.sub("", _CARD.sub("", stdout)))]
    return [text for text in boxes + lines if not _NOTHING_TOLD.search(text)]
