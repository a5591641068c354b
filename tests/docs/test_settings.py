"""docs/settings.md has every setting, with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from zpe_sdk.client.settings import ClientSettings
from zpe_sdk.worker.settings import WorkerSettings
from zpe_server.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
OF_THE_MACHINE = {"ZPE_WORKER_NAME": "the host's name", "ZPE_WORK_DIR": "~/.zpe/worker"}


def table(heading: str) -> dict[str, tuple[str, str]]:
    """Return default and meaning of each variable below a heading."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(ZPE_\w+)` \| (.*?) \| (.*?) \|$", section, flags=re.M)
    return {name: (default.strip("`"), meaning) for name, default, meaning in rows}


def written(value: Any) -> str:
    """Return a default as the page writes it."""
    value = value.get_secret_value() if isinstance(value, SecretStr) else value
    if value is None or value in ([], ()):
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(
    ("heading", "settings"),
    [("Control plane", Settings), ("Worker", WorkerSettings), ("Client", ClientSettings)],
)
def test_every_setting_is_there_with_its_default(heading: str, settings: type[BaseSettings]) -> None:
    shown = table(heading)
    expected = {
        name: OF_THE_MACHINE.get(name) or written(field.default)
        for name, field in ((f"ZPE_{name.upper()}", field) for name, field in settings.model_fields.items())
    }
    assert {name: default for name, (default, _) in shown.items()} == expected
    assert all(meaning for _, meaning in shown.values())


@pytest.mark.parametrize("file", [".env.control.example", ".env.compute.example"])
def test_the_examples_name_settings_that_exist(file: str) -> None:
    settings = Settings if "control" in file else WorkerSettings
    known = {f"ZPE_{name.upper()}" for name in settings.model_fields}
    known |= {"ZPE_TLS_CERT", "ZPE_TLS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    known.add("FORWARDED_ALLOW_IPS")
    named = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (PAGE.parents[1] / file).read_text(), flags=re.M)
    assert named
    assert set(named) <= known
