"""Owns what every request passes before a route sees it: host, key, origin, size; and the headers of answers.

Written on plain ASGI, so that a stream of events is neither buffered nor wrapped in a task.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api import problems

LONGEST_BODY_BYTES = 1 << 20
"""Goals are small; a megabyte is far beyond any."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz"})
"""Answered without a key: they say nothing but that the server lives."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers then send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may use this server, and under which names it answers."""

    key_sha256: bytes | None
    """Digest of the API key; None asks for none."""
    hosts: frozenset[str]
    """Names accepted in `Host`; empty accepts every name, which needs a key."""

    @classmethod
    def of(cls, *, api_key: str | None, loopback: bool, allowed_hosts: Iterable[str]) -> "Access":
        """Derive access from settings; a bind beyond loopback answers to any name unless names are given.

        A page on the internet can point its own name at 127.0.0.1 and read this server through a visitor's
        browser; the `Host` it sends gives it away.
        """
        named = frozenset(name.lower() for name in allowed_hosts)
        return cls(
            key_sha256=None if api_key is None else hashlib.sha256(api_key.encode()).digest(),
            hosts=named | LOOPBACK_NAMES if loopback or named else frozenset(),
        )

    def knows_host(self, host: str) -> bool:
        """Whether a `Host` header names this server."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return not self.hosts or (name or "") in self.hosts

    def admits(self, authorization: str) -> bool:
        """Whether an `Authorization` header carries the key: `Bearer KEY`, or Basic with it as the password."""
        if self.key_sha256 is None:
            return True
        scheme, _, rest = authorization.partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else _basic_password(scheme, rest)
        return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), self.key_sha256)


def _basic_password(scheme: str, rest: str) -> str:
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


class Guard:
    """The outermost layer of the server."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """Wrap an app."""
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem document."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            extra = {"WWW-Authenticate": 'Bearer, Basic realm="Deep Agent"'} if refusal.status == 401 else {}
            await problems.response(refusal, extra)(scope, receive, _with_headers(send))
            return
        await self._app(scope, _Capped(receive), _with_headers(send))

    def _refusal(self, scope: Scope) -> problems.ProblemDocument | None:
        headers, path = Headers(scope=scope), str(scope["path"])
        if not self._access.knows_host(headers.get("host", "")):
            return problems.document(
                path, 421, "unknown-host", "this server does not answer to that Host; DEEP_AGENT_ALLOWED_HOSTS adds it."
            )
        if path not in OPEN_PATHS and not self._access.admits(headers.get("authorization", "")):
            return problems.document(path, 401, "unauthorized", "send the API key as `Authorization: Bearer KEY`.")
        if scope["method"] not in SAFE_METHODS and not _same_origin(headers):
            return problems.document(path, 403, "cross-origin", "another site's page asked for this change.")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > LONGEST_BODY_BYTES:
            return problems.document(path, 413, "too-large", f"the body is over {LONGEST_BODY_BYTES} bytes.")
        return None


def _same_origin(headers: Headers) -> bool:
    """Whether a change comes from this server's own page or from no browser at all.

    Browsers attach stored credentials, and reach loopback, on behalf of any page; but they say whose page it is.
    """
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class _Capped:
    """Ends a body that grows beyond the cap although no length announced it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._seen_bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen_bytes += len(message.get("body", b""))
        if self._seen_bytes > LONGEST_BODY_BYTES:
            raise HTTPException(413, f"the body is over {LONGEST_BODY_BYTES} bytes")
        return message


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Content-Security-Policy", PAGE_POLICY)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
