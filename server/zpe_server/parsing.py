"""What the existing web interface asks of a QE input."""

from __future__ import annotations

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.wire import Atom, Lattice, ParseReply, Point, Structure


def parse_reply(content: str) -> ParseReply:
    """Return structure, fixed atoms, species and k-point mesh of an input.

    Raises
    ------
    InputError
        Naming the namelist key or card at fault.
    """
    pw_input = PwInput.read(content)
    a, b, c = (Point(x=float(x), y=float(y), z=float(z)) for x, y, z in pw_input.cell)
    atoms = [
        Atom(symbol=symbol, x=float(x), y=float(y), z=float(z))
        for symbol, (x, y, z) in zip(pw_input.symbols, pw_input.positions, strict=True)
    ]
    return ParseReply(
        structure=Structure(atoms=atoms, lattice=Lattice(a=a, b=b, c=c)),
        fixed_indices=list(pw_input.fixed_indices),
        atomic_species={species.label: species.pseudopotential for species in pw_input.species},
        kpoints=pw_input.kpoints.mesh,
    )
