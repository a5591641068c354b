#!/usr/bin/env python3
"""Submit H2, wait for it and print its result: a first test of a control plane and its workers.

Where the control plane is comes from ZPE_API_URL or ZPE_CONTROL_API_URL, who you are from ZPE_TOKEN; or both
from `zpe login`::

    zpe login https://zpe.example.org    # asks for the token
    scripts/zpe-submit-h2.py [FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from zpe_sdk import ZPEClient, ZPEError

H2 = Path(__file__).parent.parent / "samples" / "qe-in" / "h2_zpe.in"


def main() -> int:
    """Run one job; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=H2, help="a pw.x input (default: H2)")
    parser.add_argument("--new", action="store_true", help="take over no SCFs of earlier jobs")
    parser.add_argument("--timeout", type=float, help="seconds to wait at most")
    arguments = parser.parse_args()
    try:
        with ZPEClient(os.environ.get("ZPE_API_URL") or None) as client:
            job = client.submit(
                arguments.file,
                name=arguments.file.stem,
                calc_mode="new" if arguments.new else "continue",
            )
            print(f"job {job.id}", file=sys.stderr)
            job.wait(arguments.timeout)
            print(job.summary())
            result = job.result()
    except (ZPEError, TimeoutError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(f"ZPE = {result.zpe_ev:.6f} eV")
    print(f"frequencies = {', '.join(f'{value:.1f}' for value in result.document.freqs_cm)} cm-1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
