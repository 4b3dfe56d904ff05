"""The REST door: /v1, server-sent events, OpenAPI."""
