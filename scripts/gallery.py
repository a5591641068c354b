"""Take the pictures of the gallery out of the notebooks: ``python -m scripts.gallery``.

Run it after a notebook has been run again; docs/gallery.md says what they show.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/gallery"


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each picture that a notebook shows, e.g. ``08_infrared_spectrum-1.png``."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
        for n, data in enumerate((data for data in shown if "image/png" in data), start=1):
            yield f"{path.stem}-{n}.png", b64decode(data["image/png"])


def main() -> None:
    """Write them, and remove those that no notebook shows any more."""
    FOLDER.mkdir(exist_ok=True)
    found = dict(pictures())
    for old in FOLDER.glob("0*.png"):
        if old.name not in found:
            old.unlink()
    for name, picture in found.items():
        (FOLDER / name).write_bytes(picture)


if __name__ == "__main__":
    main()
