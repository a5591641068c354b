"""Replicas on one Redis tell their settings; those that differ are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tests.processes import ControlPlane, RedisServer, wait_until
from zpe_server.replicas import differences, shared_settings
from zpe_server.settings import Settings

SECRET = "zpea_0123456789abcdefghij"


def test_replicas_that_differ_say_so_in_log_and_overview(tmp_path: Path, redis_server: RedisServer) -> None:
    def start(name: str, **settings: object) -> ControlPlane:
        shared: dict[str, object] = {"ZPE_REDIS_URL": redis_server.url}
        plane = ControlPlane(tmp_path / name, shared | settings, admin_token=SECRET)
        plane.start()
        return plane

    def overview(plane: ControlPlane) -> dict[str, Any]:
        with plane.api() as api:
            return dict(api.get("/calc/zpe/admin/overview").raise_for_status().json())

    one = start("one", ZPE_RETRY_MAX=3)
    assert (overview(one)["replicas"], overview(one)["differences"]) == (1, [])
    two = start("two", ZPE_RETRY_MAX=5)
    wait_until(lambda: "have different settings" in two.log)
    found = overview(one)
    assert found["replicas"] == 2
    [difference] = found["differences"]
    assert difference.startswith("ZPE_RETRY_MAX is ")
    assert {"3", "5"} <= set(difference.split())
    assert SECRET not in two.log + str(found)
    # One that ends in good order is gone at once.
    two.stop()
    assert (overview(one)["replicas"], overview(one)["differences"]) == (1, [])
    one.stop()


def test_secrets_that_differ_are_told_by_a_part_of_their_hash() -> None:
    one, two = (
        shared_settings(Settings(admin_token=SecretStr(f"zpea_{name}_0123456789abcdef")))
        for name in ("one", "two")
    )
    [difference] = differences({"one": one, "two": two})
    assert difference.startswith("ZPE_ADMIN_TOKEN is sha256 ")
    assert "zpea_" not in difference
    assert differences({"one": one, "same": one}) == []
    # What each process has for itself may differ, and one of another version may not know a setting.
    assert not {"redis_url", "data_dir", "log_level"} & set(one)
    assert differences({"one": one, "older": {"retry_max": one["retry_max"]}}) == []
