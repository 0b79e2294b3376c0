"""Certificates in, an `ssl.SSLContext` out, and which proxy leads to a server.

An authority that a kubeconfig names is trusted as Go trusts it: whatever it is, root or intermediate, and without the key
identifiers that VERIFY_X509_STRICT of Python 3.13 asks for and older cluster authorities do not have.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit


def context(
    *, authority: bytes | None, insecure: bool, certificate: bytes | None = None, key: bytes | None = None
) -> ssl.SSLContext:
    """Raises ValueError with a sentence when something is not what it should be."""
    made = ssl.create_default_context() if authority is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif authority is not None:
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            made.load_verify_locations(cadata=authority.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError) as error:
            raise ValueError("the certificate authority is not a PEM certificate") from error
    if certificate is not None and key is not None:
        _identify(made, certificate, key)
    return made


def _identify(made: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    try:
        with _in_memory(certificate.rstrip() + b"\n" + key) as path:
            made.load_cert_chain(path, password=_no_password)
    except _PasswordWanted:
        raise ValueError("the client key is encrypted, and there is nobody to ask for its password") from None
    except ssl.SSLError as error:
        raise ValueError(f"the client certificate and its key cannot be used: {error.reason or error}") from error


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path for what OpenSSL reads only from files. The key never touches a disk."""
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


class _PasswordWanted(Exception):  # noqa: N818 - never leaves this module
    pass


def _no_password() -> str:
    raise _PasswordWanted


def proxy_of(server: str, environment: Mapping[str, str]) -> str | None:
    """The proxy that the environment asks for, by the rules of Go's `http.ProxyFromEnvironment`; None for a direct way."""
    parts = urlsplit(server)
    name = f"{parts.scheme}_proxy"
    proxy = environment.get(name.upper()) or environment.get(name)
    if not proxy or _direct(parts, environment.get("NO_PROXY") or environment.get("no_proxy") or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _direct(server: SplitResult, exceptions: str) -> bool:
    host = (server.hostname or "").rstrip(".")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    port = server.port or (443 if server.scheme == "https" else 80)
    return any(_matches(rule.strip().lower(), host, port, address) for rule in exceptions.split(",") if rule.strip())


def _matches(rule: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if rule == "*":
        return True
    if "/" in rule and address is not None:
        try:
            return address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and _address(rule) is None:
        if int(number) != port:
            return False
        rule = name.strip("[]")
    if address is not None:
        return _address(rule) == address
    suffix = rule.removeprefix("*")
    return host == suffix.removeprefix(".") or host.endswith(suffix if suffix.startswith(".") else f".{suffix}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
