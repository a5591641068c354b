"""The commands with which a machine becomes a compute node; none of them shows the enroll token to others.

The token is pasted into standard input or into a file of its owner's: what stands in a command line is in the
shell's history, and in the list of processes for everybody on the machine.
"""

from __future__ import annotations

import shlex
from typing import Literal

Way = Literal["terminal", "systemd", "slurm", "container"]

# Of Debian's package quantum-espresso-data.
PSEUDO_DIR = "/usr/share/espresso/pseudo"
_PASTE = "# paste the token, then Enter and Ctrl-D"


def enrol_commands(url: str, *, pseudo_dir: str = PSEUDO_DIR) -> dict[Way, str]:
    """Return what to run on a compute node, for each way to keep a worker running.

    Parameters
    ----------
    url
        Where the node finds the control plane.
    pseudo_dir
        Its folder of pseudopotential files.
    """
    there, files = shlex.quote(url), shlex.quote(pseudo_dir)
    settings = f"ZPE_CONTROL_API_URL={there}\nZPE_PSEUDO_DIR={files}\n"
    worker = f"zpe worker --url {there} --pseudo-dir {files} --enroll-file -"
    return {
        "terminal": worker,
        "systemd": (
            "sudo install -d -m 700 /etc/zpe\n"
            f"sudo sh -c 'umask 077; cat > /etc/zpe/compute.env' <<'END'\n{settings}END\n"
            "sudo sh -c 'umask 077; { printf ZPE_ENROLL_TOKEN=; cat; } > /etc/zpe/enroll.env'"
            f"  {_PASTE}\n"
            "sudo systemctl enable --now zpe-worker"
        ),
        "slurm": (
            "mkdir -p -m 700 ~/.zpe\n"
            f"(umask 077; cat > ~/.zpe/enroll-token)  {_PASTE}\n"
            f"cat > ~/.zpe/compute.env <<'END'\n{settings}ZPE_ENROLL_FILE=~/.zpe/enroll-token\nEND\n"
            "sbatch deploy/slurm/zpe-worker.sbatch"
        ),
        "container": (
            "docker run -it --init -v zpe-worker:/var/lib/zpe -e ZPE_WORK_DIR=/var/lib/zpe IMAGE \\\n"
            f"    {worker}"
        ),
    }
