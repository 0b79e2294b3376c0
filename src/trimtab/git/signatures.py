"""Checking a commit's signature with git, against keys that are handed in: a file of allowed signers for SSH, a GnuPG home of its
own for OpenPGP. Nothing of the machine's own keyrings is read.

A set of keys is put down once, under its id, and appears whole or not at all. What git finds is remembered by commit and set:
neither ever changes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

from trimtab.core.model.errors import TransientError
from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys, State
from trimtab.core.model.text import one_line
from trimtab.plumbing.processes import NotStarted, ProcessError, clean_environment, run

from .command import Git

KEPT_MAX = 4_096
SETS_MAX = 8
GPG_SECONDS = 30.0
_FORMAT = "%G?%x00%GS%x00%GF%x00%GP%x00%GK"
_GPG_CONF = "no-autostart\ntrust-model always\nno-auto-key-retrieve\nno-auto-check-trustdb\nbatch\n"
_STATES: dict[str, State] = {
    "G": "good",
    "U": "unknown",
    "N": "unsigned",
    "B": "bad",
    "X": "expired",
    "Y": "expired",
    "R": "revoked",
    "E": "unknown",
}


class Signatures:
    """``root`` is a directory of ours."""

    def __init__(self, root: Path, git: Git) -> None:
        self._root = root
        self._git = git
        self._kept: OrderedDict[tuple[Path, Revision, str], Signature] = OrderedDict()
        self._owners: dict[str, dict[str, str]] = {}
        """By set of keys: the User of each OpenPGP fingerprint."""

    async def check(self, directory: Path, revision: Revision, keys: SigningKeys) -> Signature:
        """Raises TransientError when git or gpg cannot be asked."""
        known = (directory, revision, keys.id)
        if known in self._kept:
            self._kept.move_to_end(known)
            return self._kept[known]
        place = await self._put(keys)
        found = await self._ask(directory, revision, place, self._owners[keys.id])
        self._kept[known] = found
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return found

    async def _ask(self, directory: Path, revision: Revision, place: Path, owners: dict[str, str]) -> Signature:
        options = self._git.options(
            ("gpg.ssh.allowedSignersFile", str(place / "allowed_signers")),
            ("log.showSignature", "false"),
            ("gpg.minTrustLevel", "undefined"),
        )
        environment = {**options, "GNUPGHOME": str(place / "gnupg")}
        done = await self._git.local(directory, "log", "-1", f"--format={_FORMAT}", revision, "--", environment=environment)
        parts = done.stdout.decode("utf-8", "replace").rstrip("\n").split("\0")
        if done.code != 0 or len(parts) != 5:
            raise TransientError(f"check the signature of {revision[:12]}: {one_line(done.stderr.decode('utf-8', 'replace'))}")
        letter, signer, fingerprint, primary, key = parts
        state: State = _STATES.get(letter, "bad")
        detail = one_line(fingerprint or key, characters_max=100)
        if state != "good":
            return Signature(state, detail=detail)
        # An SSH signer is called as in the file; an OpenPGP key by its name, which anybody may choose: its fingerprint says whose it is.
        user = signer if fingerprint.startswith("SHA256:") else owners.get(primary, "")
        return Signature("good", user, detail) if user else Signature("unknown", detail=detail)

    async def _put(self, keys: SigningKeys) -> Path:
        place = self._root / keys.id
        if keys.id in self._owners and place.is_dir():
            return place
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(place, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=self._root))
        try:
            lines = [f'{user} namespaces="git" {" ".join(key.split()[:2])}\n' for user, key in keys.ssh]
            (part / "allowed_signers").write_text("".join(lines), encoding="utf-8")
            home = part / "gnupg"
            home.mkdir(mode=0o700)
            (home / "gpg.conf").write_text(_GPG_CONF, encoding="utf-8")
            owners: dict[str, str] = {}
            for user, key in keys.openpgp:
                owners |= dict.fromkeys(await _import(home, key), user)
            part.replace(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self._owners[keys.id] = owners
        self._forget(keep=place)
        return place

    def _forget(self, *, keep: Path) -> None:
        others = sorted((one for one in self._root.iterdir() if one != keep), key=lambda one: one.stat().st_mtime)
        for old in others[: max(0, len(others) - SETS_MAX + 1)]:
            shutil.rmtree(old, ignore_errors=True)
            self._owners.pop(old.name, None)


async def _import(home: Path, key: str) -> list[str]:
    """The fingerprints of what is in ``key``; none for what is no key, which then signs nothing."""
    command = ["gpg", "--homedir", str(home), "--batch", "--no-autostart", "--status-fd", "1", "--import"]
    try:
        done = await run(
            command,
            environment=clean_environment(home),
            timeout_seconds=GPG_SECONDS,
            output_bytes_max=1 << 20,
            stdin=key.encode(),
        )
    except NotStarted as error:
        raise TransientError(
            f"import an OpenPGP key: {error}", remedy="Install gpg on the server, or sign with SSH keys"
        ) from error
    except ProcessError as error:
        raise TransientError(f"import an OpenPGP key: {error}") from error
    words = (line.split() for line in done.stdout.decode("ascii", "replace").splitlines())
    return [found[3] for found in words if found[:2] == ["[GNUPG:]", "IMPORT_OK"] and len(found) == 4]
