import ipaddress
import re
import socket
import ssl
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.errors import InvalidInput
from deep_agent.executor.egress import (
    AddressRefusedError,
    AllowList,
    Answered,
    Egress,
    Refused,
    Unreachable,
    check_url,
    checked_addresses,
    is_public,
    resolve_with_system,
)

NOTHING = AllowList(())

TRAPS = [
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "64:ff9b:1::7f00:1",
    "::7f00:1",
    "fec0::1",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "ff0e::1",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.192",
    "192.88.99.1",
    "100.64.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "255.255.255.255",
    "240.0.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.9",
    "192.0.2.1",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fd12::1",
    "2001::1",
    "2001:db8::1",
    "2001:10::1",
    "3fff::1",
    "4000::1",
    "64:ff9b::a00:1",
    "100::",
    "5f00::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "192.0.1.1",
    "2606:4700::1111",
    "2a00:1450::1",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("address", TRAPS)
def test_an_address_off_the_public_internet_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_hiding_an_ipv4_address_in_ipv6_changes_nothing(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    nat64 = ipaddress.IPv6Address(ipaddress.ip_address("64:ff9b::").packed[:12] + address.packed)
    assert is_public(mapped) == is_public(nat64) == is_public(address)


@given(st.ip_addresses(v=6))
def test_ipv6_outside_the_global_block_is_never_public_unless_it_wraps_ipv4(address: ipaddress.IPv6Address) -> None:
    wraps = address.ipv4_mapped is not None or address in ipaddress.IPv6Network("64:ff9b::/96")
    if address not in ipaddress.IPv6Network("2000::/3") and not wraps:
        assert not is_public(address)


@given(st.ip_addresses())
def test_what_python_calls_private_loopback_or_multicast_is_never_public(address) -> None:
    if address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified:
        assert not is_public(address)


def test_one_private_answer_refuses_them_all() -> None:
    with pytest.raises(AddressRefusedError, match=r"127\.0\.0\.1"):
        checked_addresses("two.example", 443, allow=NOTHING, resolve=lambda _h, _p: ("8.8.8.8", "127.0.0.1"))


def test_a_scoped_answer_is_checked_without_its_scope() -> None:
    with pytest.raises(AddressRefusedError):
        checked_addresses("link.example", 443, allow=NOTHING, resolve=lambda _h, _p: ("fe80::1%eth0",))


@pytest.mark.parametrize("spelling", ["0x7f000001", "2130706433", "127.1", "0177.0.0.1", "localhost"])
def test_odd_spellings_of_loopback_are_refused_after_resolving(spelling: str) -> None:
    with pytest.raises((AddressRefusedError, OSError)):
        checked_addresses(spelling, 443, allow=NOTHING, resolve=resolve_with_system)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "http://example.com/",
        "https://example.com:8443/",
        "https://user:pass@example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest",
        "https:///nohost",
        "https://exa mple.com/",
        "https://example.com/\r\nHost: evil",
        "https://example.com:99999/",
        "not a url",
        "file:///etc/passwd",
    ],
)
def test_an_address_users_may_not_name_is_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_url(url, NOTHING)
    assert "DEEP_AGENT_WEBHOOK_ALLOW" in caught.value.remedy


def test_credentials_in_an_address_are_not_repeated_in_the_message() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_url("https://user:hunter2@example.com/", NOTHING)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000/hook"),
        ("10.0.0.0/8", "http://10.9.8.7/hook"),
        ("hooks.lan", "http://HOOKS.lan:81/"),
        ("::1", "http://[::1]:9000/"),
    ],
)
def test_an_opened_host_may_be_private_and_plain_http(entry: str, url: str) -> None:
    assert check_url(url, AllowList([entry])).hostname


def test_a_name_that_answers_differently_the_second_time_is_resolved_once() -> None:
    answers = iter([("203.0.113.77",), ("127.0.0.1",)])
    egress = Egress(AllowList(["203.0.113.0/24"]), monotonic_s=lambda: 0.0, resolve=lambda _h, _p: next(answers))
    reply = egress.post("https://rebind.example/", headers={}, body=b"", timeout_s=0.3)
    assert not isinstance(reply, Answered)
    assert next(answers) == ("127.0.0.1",)


def test_a_public_name_with_a_private_address_is_refused_without_connecting() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    with listener:
        egress = Egress(NOTHING, monotonic_s=lambda: 0.0, resolve=lambda _h, _p: ("127.0.0.1",))
        reply = egress.post("https://inside.example/", headers={}, body=b"", timeout_s=2)
        assert isinstance(reply, Refused)
        with pytest.raises(TimeoutError):
            listener.accept()


def read_request(peer: socket.socket) -> bytes:
    """Read headers and body; closing on unread bytes would reset the connection."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(body) < length:
        body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


def serve_once(answer: bytes, seen: list[bytes]) -> tuple[int, threading.Thread]:
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with listener:
            peer, _ = listener.accept()
            with peer:
                seen.append(read_request(peer))
                peer.sendall(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return listener.getsockname()[1], thread


def local_egress() -> Egress:
    import time

    return Egress(AllowList(["127.0.0.1"]), monotonic_s=time.monotonic)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    seen: list[bytes] = []
    port, thread = serve_once(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", seen)
    reply = local_egress().post(f"http://127.0.0.1:{port}/hook", headers={"X-A": "b"}, body=b"hello", timeout_s=5)
    thread.join(5)
    assert reply == Answered(status=302)
    assert seen[0].startswith(b"POST /hook HTTP/1.1")
    assert seen[0].endswith(b"hello")


def test_only_the_first_four_kilobytes_of_an_answer_are_kept() -> None:
    seen: list[bytes] = []
    port, thread = serve_once(b"HTTP/1.1 500 No\r\nRetry-After: 7\r\n\r\n" + b"x" * 50_000, seen)
    reply = local_egress().post(f"http://127.0.0.1:{port}/", headers={}, body=b"", timeout_s=5)
    thread.join(5)
    assert isinstance(reply, Answered)
    assert (reply.status, reply.retry_after, len(reply.body)) == (500, "7", 4096)


def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reply = local_egress().post(f"http://127.0.0.1:{port}/", headers={}, body=b"", timeout_s=5)
    assert isinstance(reply, Unreachable)


def test_a_receiver_that_drips_its_headers_is_cut_off_at_the_deadline() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        with listener:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                while not stop.wait(0.05):
                    try:
                        peer.sendall(b"H")
                    except OSError:
                        return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    reply = local_egress().post(f"http://127.0.0.1:{listener.getsockname()[1]}/", headers={}, body=b"", timeout_s=0.6)
    stop.set()
    thread.join(5)
    assert isinstance(reply, Unreachable)


def test_tls_still_verifies_the_name_it_was_asked_for(tmp_path) -> None:
    hello: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _s, name, _c: hello.append(name)
    listener = socket.create_server(("127.0.0.1", 0))

    def shake() -> None:
        with listener:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(3)
                try:
                    context.wrap_socket(peer, server_side=True)
                except OSError:
                    return

    thread = threading.Thread(target=shake, daemon=True)
    thread.start()
    import time

    egress = Egress(
        AllowList(["named.example", "127.0.0.1"]), monotonic_s=time.monotonic, resolve=lambda _h, _p: ("127.0.0.1",)
    )
    reply = egress.post(f"https://named.example:{listener.getsockname()[1]}/", headers={}, body=b"", timeout_s=3)
    thread.join(5)
    assert isinstance(reply, Unreachable)
    assert hello == ["named.example"]
