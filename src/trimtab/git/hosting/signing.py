"""The key of this server, and signing with it: an SSH key, made by ssh-keygen at the first start and used by ssh-keygen alone.

The private half stays in one file that its user alone may read; nothing here reads that file, or has anything of it to show. Where it
cannot be used, `Signing.signer` says why, and nothing is signed: there is no second way.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from trimtab.core.model.errors import TransientError
from trimtab.core.model.text import one_line
from trimtab.plumbing.processes import clean_environment
from trimtab.ports.hosting import Signer

PROGRAM = "ssh-keygen"
NAMESPACE = "git"
SECONDS_MAX = 30.0
SIGNATURE_BYTES_MAX = 16 * 1024


class Signing:
    """``key`` is the file of the private half; None for a server that signs nothing."""

    def __init__(self, key: Path | None) -> None:
        self._key = key
        self.signer = _signer(key) if key is not None else Signer(problem="it has no key")

    def sign(self, content: bytes) -> str:
        """In the format that git calls ``ssh``."""
        if self._key is None or not self.signer.key:
            raise TransientError(f"sign a merge: {self.signer.problem}")
        try:
            signature = _run(["-Y", "sign", "-n", NAMESPACE, "-f", str(self._key)], self._key, stdin=content)
        except _SigningError as error:
            raise TransientError(f"sign a merge with {self._key}: {error}") from error
        if not signature.startswith("-----BEGIN SSH SIGNATURE-----") or len(signature) > SIGNATURE_BYTES_MAX:
            raise TransientError(f"sign a merge with {self._key}: {PROGRAM} gave no signature")
        return signature.rstrip("\n")


NO_SIGNING = Signing(None)


class _SigningError(Exception):
    """What to tell people."""


def _signer(key: Path) -> Signer:
    """The public half; makes both where there is none yet."""
    try:
        if not key.exists():
            _make(key)
        _tighten(key)
        words = _run(["-y", "-P", "", "-f", str(key)], key).split()
    except _SigningError as error:
        return Signer(problem=str(error))
    return Signer(" ".join(words[:2])) if len(words) >= 2 else Signer(problem=f"{key} holds no key")


def _tighten(key: Path) -> None:
    """A volume that is mounted for a group opens every file to it, and ssh-keygen takes no such key. One that is open to everybody stays:
    then it may be known to others, and ssh-keygen says so."""
    try:
        mode = key.stat().st_mode
        if mode & 0o070 and not mode & 0o007:
            key.chmod(0o600)
    except OSError as error:
        raise _SigningError(f"{key} cannot be read: {error.strerror or error}") from error


def _make(key: Path) -> None:
    """It appears whole or not at all: a half-written key would be one that nobody has."""
    part = key.with_name(f".{key.name}.part")
    public = part.with_name(f"{part.name}.pub")
    try:
        key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.unlink(missing_ok=True)
        _run(["-q", "-t", "ed25519", "-N", "", "-C", "trimtab", "-f", str(part)], key)
        part.chmod(0o600)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(key)
    except OSError as error:
        raise _SigningError(f"{key} cannot be written: {error.strerror or error}") from error
    finally:
        for left in (part, public):
            left.unlink(missing_ok=True)


def _run(arguments: list[str], key: Path, *, stdin: bytes = b"") -> str:
    """Not through `plumbing.processes`: this runs in the threads that write commits, which have no loop."""
    try:
        done = subprocess.run(
            [PROGRAM, *arguments],
            input=stdin,
            capture_output=True,
            timeout=SECONDS_MAX,
            env=clean_environment(key.parent, SSH_ASKPASS_REQUIRE="never"),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _SigningError(f"{PROGRAM} took more than {SECONDS_MAX:g} s") from error
    except OSError as error:
        raise _SigningError(f"{PROGRAM} cannot be run; install it (OpenSSH's client) and start again") from error
    if done.returncode:
        said = one_line(done.stderr.decode("utf-8", "replace"), characters_max=200)
        raise _SigningError(f"{PROGRAM}: {said or 'it failed and said nothing'}")
    return done.stdout.decode("utf-8", "replace")
