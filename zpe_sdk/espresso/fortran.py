"""What Fortran writes: numbers, and unformatted files, whose records stand between markers of length."""

from __future__ import annotations

from mmap import mmap


def real(text: str) -> float:
    """Return a number as Fortran prints it; what does not fit into its field is stars, no number: NaN."""
    try:
        return float(text.replace("D", "E"))
    except ValueError:
        return float("nan")


def records(content: bytes | mmap) -> list[bytes]:
    """Split the content of a file into its records.

    Raises
    ------
    ValueError
        It is no such file, or one with a record above 2 GB.
    """
    found, place = [], 0
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "little", signed=True)
        end = place + 4 + length
        if length < 0 or content[end : end + 4] != content[place : place + 4]:
            raise ValueError("not the records of a Fortran file, or one above 2 GB")
        found.append(content[place + 4 : end])
        place = end + 4
    return found


def marked(record: bytes) -> bytes:
    """Return a record between its markers."""
    marker = len(record).to_bytes(4, "little", signed=True)
    return marker + record + marker
