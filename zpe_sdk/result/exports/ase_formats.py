"""Files of ASE: extended XYZ with the modes, and ``vib.json``."""

from __future__ import annotations

from io import StringIO

import numpy as np
from ase.io import write
from ase.io.jsonio import encode
from ase.vibrations import VibrationsData

from zpe_sdk.result.data import ResultData
from zpe_sdk.result.moves import in_one_piece, mode_moves


def extxyz(result: ResultData) -> str:
    """Return the modes as extended XYZ: for each a frame, the array ``displacement`` beside the positions.

    With each frame stand ``mode`` (from 0), ``kind``, ``frequency_cm`` and, where known,
    ``ir_intensity_km_mol``.
    Positions are in Å; each mode is normalised to 1. Ovito, ASE and chemiscope read it.
    """
    intensities, frames = result.ir_intensities, []
    for k, cm in enumerate(result.frequencies_cm):
        frame = result.atoms
        frame.positions = in_one_piece(result)
        frame.arrays["displacement"] = mode_moves(result, k)
        frame.info = {"mode": k, "kind": result.document.mode_kinds[k], "frequency_cm": float(cm)}
        if intensities is not None:
            frame.info["ir_intensity_km_mol"] = float(intensities[k])
        frames.append(frame)
    text = StringIO()
    write(text, frames, format="extxyz")
    return text.getvalue()


def vib_json(result: ResultData) -> str:
    """Return structure and Hessian (eV/Å²) as ``ase.vibrations.VibrationsData.read`` takes them."""
    data = VibrationsData.from_2d(
        result.atoms, result.hessian, indices=np.array(result.document.mobile_indices)
    )
    text: str = encode(data)
    return text
