"""Which proxy leads to a server, by the rules that Go's clients have."""

from __future__ import annotations

import pytest

from trimtab.targets.kubernetes import tls


@pytest.mark.parametrize(
    ("server", "environment", "expected"),
    [
        ("https://k:6443", {}, None),
        ("https://k:6443", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://k:6443", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://k:6443", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://k", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://k:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://k.example.org", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a, example.org"}, None),
        ("https://k.example.org", {"HTTPS_PROXY": "http://p:1", "no_proxy": ".example.org"}, None),
        ("https://example.org", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*.example.org"}, None),
        ("https://badexample.org", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.org"}, "http://p:1"),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://11.1.2.3", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8,bad/99"}, "http://p:1"),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.1.2.3:6443"}, None),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.1.2.3:443"}, "http://p:1"),
        ("https://k", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "k:443"}, None),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::1"}, None),
    ],
)
def test_the_proxy_of_the_environment(server: str, environment: dict[str, str], expected: str | None) -> None:
    assert tls.proxy_of(server, environment) == expected


def test_what_is_no_certificate_is_said_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="authority is not a PEM certificate"):
        tls.context(authority=b"nonsense", insecure=False)
    with pytest.raises(ValueError, match="client certificate and its key cannot be used"):
        tls.context(authority=None, insecure=True, certificate=b"nonsense", key=b"nonsense")
