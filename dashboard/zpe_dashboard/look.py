"""Colours and shapes that all pages share."""

from __future__ import annotations

from typing import Any

from zpe_dashboard.words import Words
from zpe_sdk.wire import OVER, JobStatus

# Fonts that are there already: none comes over the line, and no text is drawn twice.
FONT = (
    '-apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, '
    '"Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic UI", sans-serif'
)
_SHAPES = {
    "shape": {"borderRadius": 8},
    "typography": {
        "fontFamily": FONT,
        "button": {"textTransform": "none"},
        "h1": {"fontSize": "1.5rem", "fontWeight": 400, "lineHeight": 1.334},
        "h2": {"fontSize": "1.25rem", "fontWeight": 500, "lineHeight": 1.6},
    },
}
THEME: dict[str, Any] = {
    "light": _SHAPES
    | {
        "palette": {
            "primary": {"main": "#2456c7"},
            "warning": {"main": "#b25e00"},
            "background": {"default": "#f3f5f9", "paper": "#ffffff"},
        }
    },
    "dark": _SHAPES
    | {
        "palette": {
            "primary": {"main": "#8db0ff"},
            "success": {"main": "#6fd08f"},
            "error": {"main": "#ff8a80"},
            "warning": {"main": "#ffb85c"},
            "background": {"default": "#0f1420", "paper": "#182030"},
        }
    },
}
# One colour in both themes, since what is on it is white.
BAR = "#1d3b82"
# Of the page around the content.
FRAME = {
    "& .main": {"backgroundColor": "var(--mui-palette-background-default)", "minHeight": "100vh"},
    "& .header": {"backgroundColor": BAR, "backgroundImage": "none", "boxShadow": "none"},
    "& .header .MuiIconButton-root": {"color": "#ffffff"},
    # A bar without a name, and headings without a text that keep room for it.
    "& .header .MuiLinearProgress-root": {"display": "none"},
    "& .sidebar .MuiToolbar-root h5, & .main .MuiToolbar-root h5": {"visibility": "hidden"},
}
# Readable on both backgrounds, for plots.
BLUE, GREEN, RED, GREY = "#4c7fe6", "#3aa36b", "#e0554a", "#8693a8"

TONES = {"queued": "", "started": "main", "finished": "good", "failed": "bad", "cancelled": "warn"}


def progress(job: JobStatus, label: str) -> dict[str, Any]:
    """Return a job's progress as a cell shows it."""
    return {
        "done": job.progress.done,
        "total": job.progress.total,
        "running": job.progress.running,
        "tone": TONES[job.status] or "main",
        "label": label,
    }


def kind_of(job: JobStatus, words: Words) -> str:
    """Say what a job computes."""
    if job.kind == "relax":
        return words("relaxation")
    return words("single energy") if job.kind == "energy" else words("vibrations")


def relaxing(job: JobStatus, words: Words) -> str:
    """Say how far a relaxation that goes on is; nothing if the job is not at that."""
    if job.stage != "relax" or job.status in OVER or job.ionic_step is None or job.max_force_ev_ang is None:
        return ""
    return words(
        "relaxing: step {n}, largest force {force} eV/Å",
        n=job.ionic_step,
        force=f"{job.max_force_ev_ang:.2g}",
    )
