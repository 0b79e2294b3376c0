"""When a credential ends, read from itself: the claim `exp` of a token (RFC 7519), notAfter of a certificate (RFC 5280, 4.1). Pure.

Nothing is verified, since nothing is decided by it but whether to tell somebody. What cannot be read has no end that we know of: None.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

import msgspec

TOKEN_BYTES_MAX = 64 * 1024
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


class _Claims(msgspec.Struct):
    exp: float | None = None


def token_ends(token: str) -> datetime | None:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > TOKEN_BYTES_MAX:
        return None
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), type=_Claims)
        return datetime.fromtimestamp(claims.exp, UTC) if claims.exp is not None else None
    except (binascii.Error, msgspec.DecodeError, ValueError, OverflowError, OSError):
        return None


def certificate_ends(pem: bytes) -> datetime | None:
    """Of the first certificate: that is the one we show, the others are its authorities."""
    _, _, rest = pem.partition(_BEGIN)
    text, end, _ = rest.partition(_END)
    if not end:
        return None
    try:
        return _not_after(base64.b64decode(b"".join(text.split()), validate=True))
    except (binascii.Error, ValueError, IndexError):
        return None


def _not_after(der: bytes) -> datetime:
    """Certificate: tbsCertificate: version?, serialNumber, signature, issuer, validity: notBefore, notAfter."""
    certificate = _inside(der, _SEQUENCE)
    rest = _inside(certificate, _SEQUENCE)
    skipped = 4 if rest[0] == _VERSION else 3
    for _ in range(skipped):
        rest = _element(rest)[2]
    times = _element(_inside(rest, _SEQUENCE))[2]
    tag, text, _ = _element(times)
    if tag == _UTC_TIME:  # two digits of the year, of which 50 is 1950
        century = b"20" if text[:2] < b"50" else b"19"
    elif tag == _GENERALIZED_TIME:
        century = b""
    else:
        raise ValueError("this is no time")
    return datetime.strptime((century + text).decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _inside(data: bytes, wanted: int) -> bytes:
    tag, content, _ = _element(data)
    if tag != wanted:
        raise ValueError("this is something else")
    return content


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what follows it (X.690)."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("it is cut off")
    return tag, data[start : start + length], data[start + length :]
