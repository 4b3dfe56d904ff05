"""Owns requests that leave this machine for addresses users name; touches the network and its name service.

A name is resolved once, every answer is checked, and the connection goes to a checked address, so that a
name service which answers differently the second time gains nothing; TLS still verifies the name. No
redirects, no proxy variables, no unix sockets.
"""

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Literal
from urllib.parse import SplitResult, urlsplit

import httpcore
from typing_extensions import override

from deep_agent.errors import InvalidInput
from deep_agent.problem.value import FrozenValue

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], tuple[str, ...]]

ANSWER_KEPT_BYTES = 4096
_IPV4_DENIED = tuple(
    ipaddress.IPv4Network(block)
    for block in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ]
)
_IPV6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_IPV6_DENIED = tuple(ipaddress.IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Answered(FrozenValue):
    """The other side replied."""

    kind: Literal["answered"] = "answered"
    status: int
    retry_after: str | None = None
    """The `Retry-After` header as sent."""
    body: str = ""
    """The first 4 kB, for the delivery log."""


class Unreachable(FrozenValue):
    """No reply; another attempt may succeed."""

    kind: Literal["unreachable"] = "unreachable"
    reason: str


class Refused(FrozenValue):
    """We did not send: the address is not one a user may name."""

    kind: Literal["refused"] = "refused"
    reason: str


Reply = Answered | Unreachable | Refused


class AddressRefusedError(Exception):
    """A name resolves to an address outside the public internet and the allow-list."""


class AllowList:
    """Private destinations the owner of this installation opened."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Sort entries into networks and host names; `entries` as `Settings.webhook_allow` gives them."""
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._hosts: set[str] = set()
        for entry in entries:
            try:
                self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                self._hosts.add(entry.lower().rstrip("."))

    def names(self, host: str) -> bool:
        """Whether a host name or literal address was opened by name."""
        bare = host.strip("[]").lower().rstrip(".")
        if bare in self._hosts:
            return True
        try:
            return self.covers(ipaddress.ip_address(bare))
        except ValueError:
            return False

    def covers(self, address: Address) -> bool:
        """Whether an address lies in an opened network."""
        return any(address.version == network.version and address in network for network in self._networks)


def is_public(address: Address) -> bool:
    """Whether an address is one on the public internet, whatever form it hides behind.

    The table was measured against the traps of `ipaddress`: NAT64, 6to4, multicast and protocol
    assignments that it calls global.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _IPV6_GLOBAL and not any(address in block for block in _IPV6_DENIED)
    return address.is_global and not address.is_multicast and not any(address in block for block in _IPV4_DENIED)


def check_url(url: str, allow: AllowList) -> SplitResult:
    """Check what can be known of a webhook address before its name is resolved.

    Raises:
        InvalidInput: no https (http is for opened hosts), another port than 443, credentials in the
            address, or a literal address that is neither public nor opened.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad_url(url, f"does not parse: {error}") from error
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host:
        raise _bad_url(url, "is no http(s) address")
    if parts.username is not None or parts.password is not None:
        raise _bad_url(f"{parts.scheme}://{host}", "carries credentials")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise _bad_url(url, "holds blanks or control characters")
    literal: Address | None = None
    with contextlib.suppress(ValueError):
        literal = ipaddress.ip_address(host)
    if allow.names(host):
        return parts
    if literal is not None and not is_public(literal):
        raise _bad_url(url, f"points to {literal}, which is not on the public internet")
    if parts.scheme != "https" or port not in {None, 443}:
        raise _bad_url(url, "must be https on port 443")
    return parts


def _bad_url(url: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"webhook {url!r} {why}.",
        remedy="Use a public https address, or open the host with DEEP_AGENT_WEBHOOK_ALLOW.",
    )


def resolve_with_system(host: str, port: int) -> tuple[str, ...]:
    """Ask the system's name service; raises OSError when it has no answer."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(row[4][0]) for row in rows))


def checked_addresses(host: str, port: int, *, allow: AllowList, resolve: Resolve) -> tuple[str, ...]:
    """Resolve a host and check every answer; one bad answer refuses them all.

    Raises:
        AddressRefusedError: an answer is neither public nor opened.
        OSError: the name does not resolve.
    """
    answers = resolve(host, port)
    if not answers:
        raise OSError(f"{host} has no address")
    for answer in answers:
        address = ipaddress.ip_address(answer.partition("%")[0])
        if not (is_public(address) or allow.covers(address) or allow.names(host)):
            raise AddressRefusedError(f"{host} resolves to {address}, which is not on the public internet")
    return answers


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose every operation ends at one deadline, so that a dripping peer cannot hold a thread."""

    def __init__(self, inner: httpcore.NetworkStream, remaining_s: Callable[[], float]) -> None:
        self._inner = inner
        self._remaining_s = remaining_s

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, timeout=self._remaining_s())

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout=self._remaining_s())

    @override
    def close(self) -> None:
        self._inner.close()

    @override
    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname=server_hostname, timeout=self._remaining_s())
        return _DeadlineStream(inner, self._remaining_s)

    @override
    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, allow: AllowList, resolve: Resolve, remaining_s: Callable[[], float]) -> None:
        self._allow = allow
        self._resolve = resolve
        self._remaining_s = remaining_s
        self._sockets = httpcore.SyncBackend()

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = checked_addresses(host, port, allow=self._allow, resolve=self._resolve)
        stream = self._connect_first(addresses, port, socket_options)
        return _DeadlineStream(stream, self._remaining_s)

    def _connect_first(
        self, addresses: tuple[str, ...], port: int, options: Iterable[httpcore.SOCKET_OPTION] | None
    ) -> httpcore.NetworkStream:
        last: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses:
            try:
                return self._sockets.connect_tcp(address, port, self._remaining_s(), socket_options=options or ())
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        assert last is not None
        raise last

    @override
    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        raise AddressRefusedError(f"{path} is a unix socket")

    @override
    def sleep(self, seconds: float) -> None:
        self._sockets.sleep(seconds)


class Egress:
    """Posts to addresses users named; one connection a request, safe to share between threads."""

    def __init__(
        self, allow: AllowList, *, monotonic_s: Callable[[], float], resolve: Resolve = resolve_with_system
    ) -> None:
        """Keep the allow-list, a clock for deadlines and the name service."""
        self._allow = allow
        self._monotonic_s = monotonic_s
        self._resolve = resolve

    def post(self, url: str, *, headers: dict[str, str], body: bytes, timeout_s: float) -> Reply:
        """Send one POST that ends, whatever the peer does, within `timeout_s` of its first connection.

        Any status is an answer; redirects are not followed. The name service's own limit comes on top.
        """
        try:
            check_url(url, self._allow)
        except InvalidInput as error:
            return Refused(reason=error.message)
        until_s = self._monotonic_s() + timeout_s
        # A socket timeout of zero would mean non-blocking; a millisecond ends the operation just as surely.
        backend = _GuardedBackend(self._allow, self._resolve, lambda: max(until_s - self._monotonic_s(), 1e-3))
        try:
            with httpcore.ConnectionPool(network_backend=backend, retries=0) as pool:
                return _exchange(pool, url, headers, body)
        except AddressRefusedError as error:
            return Refused(reason=str(error))
        except (httpcore.TimeoutException, TimeoutError):
            return Unreachable(reason=f"no complete answer within {timeout_s:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError) as error:
            return Unreachable(reason=f"{type(error).__name__}: {error}")


def _exchange(pool: httpcore.ConnectionPool, url: str, headers: dict[str, str], body: bytes) -> Answered:
    with pool.stream("POST", url, headers=list(headers.items()), content=body) as response:
        kept = b""
        # The status has arrived and decides; a body that breaks off or drips on is kept as far as it came.
        with contextlib.suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            for chunk in response.iter_stream():
                kept += chunk
                if len(kept) >= ANSWER_KEPT_BYTES:
                    break
        retry_after = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
        return Answered(
            status=response.status,
            retry_after=None if retry_after is None else retry_after.decode("latin-1"),
            body=kept[:ANSWER_KEPT_BYTES].decode("utf-8", "replace"),
        )
