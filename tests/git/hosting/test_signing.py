"""The server's own key, with the real ssh-keygen and git: made once, kept from everybody, and known to stock git by the line that is printed."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trimtab.core.decide.signatures import SERVER, with_server
from trimtab.core.model.errors import TransientError
from trimtab.core.model.signature import SigningKeys
from trimtab.git.hosting import GitHosting
from trimtab.git.hosting.signing import Signing
from trimtab.ports.hosting import Combined, Person, RefUpdate

BOT = Person("Trimtab", "trimtab@here", datetime(2026, 3, 2, 12, tzinfo=UTC))


def git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(repository)}
    return subprocess.run(["git", "-C", str(repository), *arguments], env=environment, capture_output=True, text=True)


async def merged(root: Path, signing: Signing) -> tuple[GitHosting, Path, str]:
    hosting = GitHosting(root, signing=signing)
    await hosting.create("shop")
    repository = hosting.path("shop")
    tree = git(repository, "write-tree").stdout.strip()
    base = await hosting.commit("shop", tree=tree, parents=[], message="first", author=BOT, committer=BOT)
    more = await hosting.commit("shop", tree=tree, parents=[base], message="größer", author=BOT, committer=BOT)
    made = await hosting.combine("shop", "merge", onto=base, change=more, message="Größer\n\nChange: 1", committer=BOT, sign=True)
    assert isinstance(made, Combined)
    assert await hosting.update_refs("shop", [RefUpdate("refs/heads/main", "", made.revision)])
    return hosting, repository, made.revision


async def test_stock_git_verifies_a_merge_with_the_public_half(tmp_path: Path) -> None:
    """And fsck finds nothing to say about it; with another key, or for something other than git, it does not verify."""
    signing, other = Signing(tmp_path / "signing-key"), Signing(tmp_path / "other-key")
    _, repository, merge = await merged(tmp_path / "repositories", signing)
    for line, code in (
        (f'trimtab namespaces="git" {signing.signer.key}', 0),
        (f'trimtab namespaces="file" {signing.signer.key}', 1),
        (f'trimtab namespaces="git" {other.signer.key}', 1),
    ):
        (tmp_path / "signers").write_text(f"{line}\n")
        done = git(repository, "-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'signers'}", "verify-commit", merge)
        assert done.returncode == code, done.stderr
    assert git(repository, "fsck", "--strict").returncode == 0


async def test_the_key_is_made_once_and_only_its_user_reads_it(tmp_path: Path) -> None:
    """A second start has the same key; there is no other file, and no half of one after a start that died while it made it."""
    (tmp_path / ".signing-key.part").write_text("half a key")
    first = Signing(tmp_path / "signing-key")
    assert first.signer.key.startswith("ssh-ed25519 ")
    assert Signing(tmp_path / "signing-key").signer == first.signer
    assert [path.name for path in tmp_path.iterdir()] == ["signing-key"]
    assert (tmp_path / "signing-key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_cannot_be_used_is_told_and_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken, open to others, or without ssh-keygen: the reason is told, without a word of what is in the file."""
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n")
    broken.chmod(0o600)
    found = Signing(broken)
    assert found.signer.key == ""
    assert found.signer.problem.startswith("ssh-keygen: ")
    assert "c2VjcmV0" not in found.signer.problem
    assert "c2VjcmV0" in broken.read_text()
    with pytest.raises(TransientError, match="sign a merge: ssh-keygen"):
        found.sign(b"anything")
    good = Signing(tmp_path / "signing-key")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    without = Signing(tmp_path / "signing-key")
    assert without.signer.problem == "ssh-keygen cannot be run; install it (OpenSSH's client) and start again"
    assert Signing(tmp_path / "fresh").signer.problem == without.signer.problem
    assert not (tmp_path / "fresh").exists()
    with pytest.raises(TransientError, match="install it"):
        good.sign(b"anything")


def test_a_key_that_is_open_to_others_signs_nothing(tmp_path: Path) -> None:
    """One that a volume has opened to its group is closed again; one that everybody could read may be known to others."""
    made = Signing(tmp_path / "signing-key").signer
    (tmp_path / "signing-key").chmod(0o660)
    assert Signing(tmp_path / "signing-key").signer == made
    assert (tmp_path / "signing-key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "signing-key").chmod(0o644)
    assert "permissions" in Signing(tmp_path / "signing-key").signer.problem.lower()


async def test_who_declares_the_servers_key_gets_nothing_from_it(tmp_path: Path) -> None:
    """It is public, so anybody may write it into Git: what it signed is the server's all the same, or nobody's."""
    signing = Signing(tmp_path / "signing-key")
    hosting, _, merge = await merged(tmp_path / "repositories", signing)
    declared = SigningKeys(ssh=(("ada", f"{signing.signer.key} ada@host"),))
    assert (await hosting.signature("shop", merge, with_server(declared, signing.signer.key, merges=True))).user == SERVER
    assert (await hosting.signature("shop", merge, with_server(declared, signing.signer.key, merges=False))).state == "unknown"
