"""The HTTP API: one router per kind of user. ``docs/http-api.md`` is its description."""
