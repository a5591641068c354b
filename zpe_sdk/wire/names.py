"""Words that messages share with the command line, which needs no pydantic to know them."""

from __future__ import annotations

from typing import Literal

JobState = Literal["queued", "started", "finished", "failed", "cancelled"]
OVER: frozenset[JobState] = frozenset({"finished", "failed", "cancelled"})  # for good, unless requeued
# By the time of submission, or by a value, downwards with "-"; jobs that have none come last.
_Upwards = Literal["name", "formula", "status", "owner", "duration", "zpe"]
_Downwards = Literal["-name", "-formula", "-status", "-owner", "-duration", "-zpe"]
JobOrder = Literal["newest", "oldest", _Upwards, _Downwards]
# A vibrational job that relaxes first has the stages ``relax`` and ``vibrations``; the others have one.
JobKind = Literal["vibrations", "relax", "energy"]
# A minimum has no imaginary vibration, a saddle point (of first order: a transition state) has one.
Expect = Literal["minimum", "saddle"]
# Whose jobs a worker with an owner runs: its owner's, those of the owner's groups, everybody's.
Accepts = Literal["own", "group", "all"]
# Heard of lately or at work; has said goodbye; neither, and nobody knows why.
WorkerState = Literal["alive", "ended", "silent"]
# Of people: an observer sees all that an administrator sees, and changes nothing.
PersonRole = Literal["admin", "observer", "researcher"]
# What computes the forces: pw.x, or springs in its place.
EngineName = Literal["espresso", "mock"]
