"""The part of the URL that says where in the dashboard one is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zpe_dashboard.route import Route

WORDS = st.text(st.characters(codec="utf-8"), min_size=1)


@given(subject=st.text(st.characters(codec="utf-8")), filters=st.dictionaries(WORDS, WORDS))
def test_a_place_survives_the_url(subject: str, filters: dict[str, str]) -> None:
    route = Route("jobs", subject, filters)
    assert Route.read(str(route)) == route


def test_an_empty_url_is_the_overview() -> None:
    assert Route.read("") == Route.read("#/") == Route("overview")


def test_the_url_is_readable() -> None:
    assert str(Route("jobs", filters={"status": "failed", "search": ""})) == "#/jobs?status=failed"
    assert str(Route("job", "abc")) == "#/job/abc"
