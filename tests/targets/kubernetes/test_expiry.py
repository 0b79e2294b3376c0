"""When credentials end, by their own word."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.kubernetes.expiry import certificate_ends, token_ends

ENDS = st.integers(int(datetime(1950, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2400, 1, 1, tzinfo=UTC).timestamp())).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)


def token(payload: bytes) -> str:
    return f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


def element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes(2, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def certificate(ends: datetime, *, version: bool = True) -> bytes:
    """As much of one as there is before the end, long enough to need long lengths."""
    text = ends.strftime("%Y%m%d%H%M%SZ").rjust(15, "0").encode()
    time = element(0x17, text[2:]) if 1950 <= ends.year < 2050 else element(0x18, text)
    validity = element(0x30, element(0x17, b"500101000000Z") + time)
    before = element(0xA0, element(2, b"\2")) if version else b""
    before += element(2, b"\1") + element(0x30, b"") + element(0x30, element(4, b"x" * 300))
    der = element(0x30, element(0x30, before + validity + element(0x30, b"")))
    text = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


@given(ENDS, st.booleans())
def test_a_certificate_says_when_it_ends(ends: datetime, version: bool) -> None:
    """In both ways that there are to write a time, and of all versions."""
    assert certificate_ends(certificate(ends, version=version)) == ends


@given(ENDS)
def test_a_token_says_when_it_ends(ends: datetime) -> None:
    assert token_ends(token(json.dumps({"exp": int(ends.timestamp())}).encode())) == ends


def test_what_does_not_say_when_it_ends_has_no_end_that_is_known() -> None:
    """Opaque tokens, tokens without an end, cut and foreign text."""
    whole = certificate(datetime(2030, 1, 1, tzinfo=UTC))
    for pem in (
        b"",
        b"nonsense",
        whole[:200],
        whole.replace(b"MI", b"!!", 1),
        whole[:60] + b"-----END CERTIFICATE-----",
    ):
        assert certificate_ends(pem) is None
    for text in ("", "opaque", "a.b", "a.!.c", token(b"[]"), token(b"{}"), token(b'{"exp": "x"}'), token(b'{"exp": 1e300}')):
        assert token_ends(text) is None


@given(st.binary(max_size=200))
def test_hostile_bytes_are_only_unknown(data: bytes) -> None:
    """Whatever the bytes are, the answer is a time or none."""
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(data) + b"-----END CERTIFICATE-----"
    assert certificate_ends(pem) is None or certificate_ends(pem) is not None
    token_ends(token(data))
    token_ends(data.decode("latin-1"))
