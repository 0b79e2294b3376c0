"""Signatures, with real keys made here: what git finds is told by the keys that were handed in, and by nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trimtab.core.model.errors import UserError
from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys
from trimtab.git import GitRepositories

from .conftest import GIT_ENVIRONMENT, Repository


def ssh_key(place: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@host", "-f", place], check=True)
    return place.with_name(place.name + ".pub").read_text().strip()


class Gpg:
    """A GnuPG home of the test's own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)

    def run(self, *arguments: str, stdin: str = "") -> str:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, name: str, expires: str = "never", *faked: str) -> str:
        self.run(*faked, "--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign", expires)
        return self.fingerprint(name)

    def fingerprint(self, name: str) -> str:
        lines = self.run("--with-colons", "--list-keys", name).splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def public(self, name: str) -> str:
        return self.run("--armor", "--export", name)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], capture_output=True)


@pytest.fixture
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpg]:
    made = Gpg(tmp_path_factory.mktemp("g") / "h")  # short: an agent's socket is in it
    yield made
    made.close()


def signed(repository: Repository, *options: tuple[str, str], environment: dict[str, str] | None = None) -> Revision:
    flags = [part for name, value in options for part in ("-c", f"{name}={value}")]
    command = ["git", *flags, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed"]
    done = subprocess.run(
        command, cwd=repository.path, env={**GIT_ENVIRONMENT, **(environment or {})}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Revision(repository.head())


def by_ssh(repository: Repository, key: Path) -> Revision:
    return signed(repository, ("gpg.format", "ssh"), ("user.signingkey", str(key)))


def by_gpg(repository: Repository, gpg: Gpg, key: str) -> Revision:
    return signed(repository, ("user.signingkey", key), environment={"GNUPGHOME": str(gpg.home)})


@pytest.fixture
async def ask(tmp_path: Path) -> Any:
    """`await ask(repository, revision, keys)`: fetches, then asks."""
    repositories = GitRepositories(tmp_path / "data")

    async def asking(repository: Repository, revision: Revision, keys: SigningKeys) -> Signature:
        await repositories.fetch(str(repository.path))
        return await repositories.signature(str(repository.path), revision, keys)

    yield asking
    await repositories.close()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit(a="1")
    return made


async def test_an_unsigned_commit(repository: Repository, ask: Any, tmp_path: Path) -> None:
    """A commit without a signature is unsigned, whatever keys there are."""
    keys = SigningKeys(ssh=(("ada", ssh_key(tmp_path / "ada")),))
    assert await ask(repository, Revision(repository.head()), keys) == Signature("unsigned")
    assert (await ask(repository, Revision(repository.head()), SigningKeys())).state == "unsigned"


async def test_an_ssh_signature(repository: Repository, ask: Any, tmp_path: Path) -> None:
    """It is good, and its User's, while the key is among those handed in; otherwise nobody knows it."""
    ada, eve = ssh_key(tmp_path / "ada"), ssh_key(tmp_path / "eve")
    revision = by_ssh(repository, tmp_path / "ada")
    found = await ask(repository, revision, SigningKeys(ssh=(("eve", eve), ("ada", ada))))
    assert (found.state, found.user) == ("good", "ada")
    assert found.detail.startswith("SHA256:")
    assert (await ask(repository, revision, SigningKeys(ssh=(("eve", eve),)))).state == "unknown"
    assert (await ask(repository, revision, SigningKeys())).state == "unknown"


async def test_an_openpgp_signature(repository: Repository, ask: Any, gpg: Gpg) -> None:
    """The same for OpenPGP. Whose it is, the fingerprint says, and not the name in the key, which anybody may choose."""
    ada = gpg.key("ada")
    revision = by_gpg(repository, gpg, ada)
    gpg.key("eve")
    found = await ask(repository, revision, SigningKeys(openpgp=(("grace", gpg.public("ada")),)))
    assert (found.state, found.user, found.detail) == ("good", "grace", ada)
    assert (await ask(repository, revision, SigningKeys(openpgp=(("ada", gpg.public("eve")),)))).state == "unknown"
    assert (await ask(repository, revision, SigningKeys(openpgp=(("ada", "no key at all"),)))).state == "unknown"


async def test_an_expired_key(repository: Repository, ask: Any, gpg: Gpg) -> None:
    """A key that is over signs nothing any more."""
    key = gpg.key("old", "seconds=2", "--faked-system-time", "20200101T000000!")
    command = gpg.home / "then"
    command.write_text(f'#!/bin/sh\nexec gpg --homedir {gpg.home} --faked-system-time 20200101T000001! "$@"\n')
    command.chmod(0o700)
    revision = signed(repository, ("user.signingkey", key), ("gpg.program", str(command)))
    assert (await ask(repository, revision, SigningKeys(openpgp=(("ada", gpg.public("old")),)))).state == "expired"


async def test_a_revoked_key(repository: Repository, ask: Any, gpg: Gpg) -> None:
    """A key that its owner has revoked signs nothing, not even what it signed before."""
    key = gpg.key("ada")
    revision = by_gpg(repository, gpg, key)
    revocation = (gpg.home / "openpgp-revocs.d" / f"{key}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
    gpg.run("--import", stdin=revocation)
    assert (await ask(repository, revision, SigningKeys(openpgp=(("ada", gpg.public("ada")),)))).state == "revoked"


async def test_a_signature_of_something_else(repository: Repository, ask: Any, gpg: Gpg, tmp_path: Path) -> None:
    """A signature that was cut out of one commit and put on another is bad, of either kind."""
    ada = ssh_key(tmp_path / "ada")
    gpg.key("ada")
    keys = SigningKeys(ssh=(("ada", ada),), openpgp=(("ada", gpg.public("ada")),))
    for revision in (by_ssh(repository, tmp_path / "ada"), by_gpg(repository, gpg, "ada")):
        raw = repository.git("cat-file", "commit", revision) + "\n"
        forged = repository.git(
            "hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.replace("\n\nsigned", "\n\nforged").encode()
        )
        repository.git("update-ref", "refs/heads/forged", forged)
        assert (await ask(repository, revision, keys)).state == "good"
        assert (await ask(repository, Revision(forged), keys)).state == "bad"


async def test_the_machines_own_keys_do_not_count(
    repository: Repository, ask: Any, gpg: Gpg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a keyring nor a file of allowed signers of whoever runs the server is looked at, nor settings of the repository."""
    ada = ssh_key(tmp_path / "ada")
    (tmp_path / "signers").write_text(f"ada {ada}\n")
    repository.git("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "signers"))
    monkeypatch.setenv("GNUPGHOME", str(gpg.home))
    revision = by_gpg(repository, gpg, gpg.key("ada"))
    assert (await ask(repository, revision, SigningKeys())).state == "unknown"
    assert (await ask(repository, by_ssh(repository, tmp_path / "ada"), SigningKeys())).state == "unknown"


async def test_what_is_found_is_remembered(
    repository: Repository, ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same question of the same commit and keys starts no program; a commit that is not there is an error."""
    keys = SigningKeys(ssh=(("ada", ssh_key(tmp_path / "ada")),))
    revision = by_ssh(repository, tmp_path / "ada")
    repositories = GitRepositories(tmp_path / "other")
    await repositories.fetch(str(repository.path))
    first = await repositories.signature(str(repository.path), revision, keys)

    async def never(*_: Any, **__: Any) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(repositories._git, "local", never)
    assert await repositories.signature(str(repository.path), revision, keys) == first
    with pytest.raises(UserError):
        await repositories.signature(str(repository.path), Revision("1" * 40), keys)
    await repositories.close()
    assert (tmp_path / "other" / "keys" / keys.id / "gnupg").stat().st_mode & 0o077 == 0
