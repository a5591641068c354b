"""What researchers write on their jobs, to find them again: it decides nothing of what is computed."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from zpe_sdk.plain import plain_lines
from zpe_sdk.wire.messages import Message, Tag


def _in_one_line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be one line of text, without blanks at its ends")
    return text


def _each_once(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


MAX_TAGS = 20
ProjectName: TypeAlias = Annotated[str, Field(max_length=100), AfterValidator(_in_one_line)]
JobTags: TypeAlias = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_each_once)]
Note: TypeAlias = Annotated[str, Field(max_length=2000), AfterValidator(plain_lines)]


class Labels(Message):
    """What is written on a job.

    Attributes
    ----------
    project
        What it belongs to; "" or null: nothing.
    tags
        Words to find it by. (Those of machines are in :class:`Requirements`.)
    note
        A text.
    keep
        Do not forget the job and its result after the usual time.
    """

    project: ProjectName | None = None
    tags: JobTags = []
    note: Note | None = None
    keep: bool = False


class LabelChanges(Message):
    """What is to be changed of a job's labels: null stays as it is, "" and [] are taken away."""

    project: ProjectName | None = None
    tags: JobTags | None = None
    note: Note | None = None
    keep: bool | None = None
