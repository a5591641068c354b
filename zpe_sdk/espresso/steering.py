"""Keys of a pw.x input that steer the run and say nothing about the forces of a converged SCF.

Paths, titles, the kind of calculation (every task is an SCF), how the SCF is brought to convergence, and the
relaxation. The convergence threshold is one of them because a task's is never looser than the engine's own.
"""

from __future__ import annotations

STEERING: dict[str, set[str]] = {
    "control": {
        "calculation",
        "title",
        "verbosity",
        "restart_mode",
        "wf_collect",
        "nstep",
        "iprint",
        "tstress",
        "tprnfor",
        "dt",
        "outdir",
        "wfcdir",
        "prefix",
        "lkpoint_dir",
        "max_seconds",
        "etot_conv_thr",
        "forc_conv_thr",
        "disk_io",
        "pseudo_dir",
        "max_xml_steps",
    },
    "system": set(),
    "electrons": {
        "conv_thr",
        "electron_maxstep",
        "scf_must_converge",
        "adaptive_thr",
        "conv_thr_init",
        "conv_thr_multi",
        "exx_maxstep",
        "mixing_mode",
        "mixing_beta",
        "mixing_ndim",
        "diagonalization",
        "diago_thr_init",
        "diago_cg_maxiter",
        "diago_ppcg_maxiter",
        "diago_david_ndim",
        "diago_rmm_ndim",
        "diago_rmm_conv",
        "diago_gs_nblock",
        "diago_full_acc",
        "startingpot",
        "startingwfc",
    },
}
