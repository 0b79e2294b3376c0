"""Who we are stays fresh: files that change, and programs that print credentials (real processes)."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trimtab.core.model.errors import TransientError
from trimtab.targets.kubernetes import credentials
from trimtab.targets.kubernetes.connection import Cluster, Plugin, User
from trimtab.targets.kubernetes.credentials import Credential, Files, Fixed
from trimtab.targets.kubernetes.plugins import PluginCredentials

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class HandClock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds - 1000.0)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def test_what_is_fixed_is_all_there_is(clock: HandClock) -> None:
    fixed = credentials.of(User(token="t", certificate=b"c", key=b"k"), clock)
    assert isinstance(fixed, Fixed)
    assert await fixed.current() == Credential("t", b"c", b"k")
    assert not await fixed.renew(await fixed.current())


async def test_a_token_file_is_read_again_after_a_minute(clock: HandClock, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    files = credentials.of(User(token_file=tmp_path / "token"), clock)
    assert (await files.current()).token == "one"
    (tmp_path / "token").write_text("two\n")
    assert (await files.current()).token == "one"
    clock.seconds += 61
    assert (await files.current()).token == "two"


async def test_a_refused_token_is_looked_up_at_once(clock: HandClock, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    files = Files(User(token_file=tmp_path / "token"), clock)
    refused = await files.current()
    assert not await files.renew(refused)
    (tmp_path / "token").write_text("two")
    assert await files.renew(refused)
    assert await files.renew(refused)  # somebody else was refused with the same one; there is a newer one already


async def test_a_token_file_that_vanishes_leaves_the_last_token(clock: HandClock, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    files = Files(User(token_file=tmp_path / "token"), clock)
    await files.current()
    (tmp_path / "token").write_text("")
    clock.seconds += 61
    assert (await files.current()).token == "one"
    (tmp_path / "token").unlink()
    clock.seconds += 61
    assert (await files.current()).token == "one"


async def test_a_token_file_that_was_never_there_is_an_error_unless_there_is_a_token_too(
    clock: HandClock, tmp_path: Path
) -> None:
    with pytest.raises(TransientError, match=r"read the credentials in .*token: No such file"):
        await Files(User(token_file=tmp_path / "token"), clock).current()
    assert (await Files(User(token="spare", token_file=tmp_path / "token"), clock).current()).token == "spare"


async def test_certificates_in_files_are_read_again_too(clock: HandClock, tmp_path: Path) -> None:
    (tmp_path / "crt").write_text("c1")
    (tmp_path / "key").write_text("k1")
    files = credentials.of(User(certificate=tmp_path / "crt", key=tmp_path / "key"), clock)
    first = await files.current()
    (tmp_path / "crt").write_text("c2")
    clock.seconds += 61
    second = await files.current()
    assert (first.certificate, second.certificate) == (b"c1", b"c2")
    assert first.fingerprint != second.fingerprint


def test_a_credential_does_not_show() -> None:
    assert repr(Credential("t0ken", b"c", b"k")) == "Credential()"


# Plugins


class Program:
    """A plugin that prints a file, and leaves behind what it was told and how often it ran."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "login"
        self.path.write_text(
            f'#!/bin/sh\ncd \'{directory}\'\necho "$REGION $1" >> runs\nprintf %s "$KUBERNETES_EXEC_INFO" > told\n'
            'cat words >&2\ncat answer\nexit "$(cat code)"\n'
        )
        self.path.chmod(0o755)
        self.words("")
        self.exits(0)

    def prints(self, **status: Any) -> None:
        document = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
        (self.directory / "answer").write_text(json.dumps(document))

    def words(self, text: str) -> None:
        (self.directory / "words").write_text(text)

    def exits(self, code: int) -> None:
        (self.directory / "code").write_text(str(code))

    @property
    def runs(self) -> list[str]:
        path = self.directory / "runs"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def told(self) -> Any:
        return json.loads((self.directory / "told").read_text())

    def credentials(self, clock: HandClock, cluster: Cluster | None = None, **more: Any) -> PluginCredentials:
        plugin = Plugin(command=str(self.path), version="v1", arguments=("arg",), environment={"REGION": "north"}, **more)
        return PluginCredentials(plugin, cluster or Cluster(server="https://k"), environment=dict(os.environ), clock=clock)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def stamp(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


async def test_a_plugin_is_run_once_for_many(program: Program, clock: HandClock) -> None:
    program.prints(token="t1")
    plugin = program.credentials(clock)
    found = await asyncio.gather(*(plugin.current() for _ in range(10)))
    clock.seconds += 1_000_000
    assert {each.token for each in [*found, await plugin.current()]} == {"t1"}
    assert program.runs == ["north arg"]


async def test_a_plugin_is_run_again_when_its_token_is_about_to_end(program: Program, clock: HandClock) -> None:
    program.prints(token="t1", expirationTimestamp=stamp(100))
    plugin = program.credentials(clock)
    await plugin.current()
    clock.seconds += 90
    assert (await plugin.current()).token == "t1"
    clock.seconds += 6
    program.prints(token="t2", expirationTimestamp=stamp(200))
    assert (await plugin.current()).token == "t2"
    assert len(program.runs) == 2


async def test_a_plugin_that_prints_what_is_about_to_end_is_not_run_for_every_request(program: Program, clock: HandClock) -> None:
    program.prints(token="t1", expirationTimestamp=stamp(4))
    plugin = program.credentials(clock)
    for _ in range(5):
        await plugin.current()
    assert len(program.runs) == 1
    clock.seconds += 5
    await plugin.current()
    assert len(program.runs) == 2


async def test_a_refused_token_lets_the_plugin_run_again_once_for_all(program: Program, clock: HandClock) -> None:
    program.prints(token="t1")
    plugin = program.credentials(clock)
    refused = await plugin.current()
    clock.seconds += 60
    program.prints(token="t2")
    assert await asyncio.gather(*(plugin.renew(refused) for _ in range(5))) == [True] * 5
    assert ((await plugin.current()).token, len(program.runs)) == ("t2", 2)


async def test_a_plugin_that_gets_the_same_token_again_is_not_run_for_every_refusal(program: Program, clock: HandClock) -> None:
    program.prints(token="t1")
    plugin = program.credentials(clock)
    refused = await plugin.current()
    clock.seconds += 60
    assert [await plugin.renew(refused) for _ in range(5)] == [False] * 5
    assert len(program.runs) == 2


async def test_a_plugin_may_print_a_certificate(program: Program, clock: HandClock) -> None:
    program.prints(clientCertificateData="c", clientKeyData="k")
    assert await program.credentials(clock).current() == Credential("", b"c", b"k")


async def test_a_plugin_is_told_about_the_cluster_only_when_it_asks(program: Program, clock: HandClock) -> None:
    program.prints(token="t")
    cluster = Cluster(server="https://k", authority=b"PEM", server_name="sni", proxy="http://p", plugin_config={"a": 1})
    await program.credentials(clock, cluster).current()
    assert program.told == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    await program.credentials(clock, cluster, tells_cluster=True).current()
    assert program.told["spec"]["cluster"] == {
        "server": "https://k",
        "certificate-authority-data": "UEVN",
        "tls-server-name": "sni",
        "proxy-url": "http://p",
        "config": {"a": 1},
    }


async def test_a_failing_plugin_is_quoted_and_left_alone_for_a_moment(program: Program, clock: HandClock) -> None:
    program.prints(token="t")
    program.words("warming up\n\x1b[31mlog in first\n\n")
    program.exits(3)
    plugin = program.credentials(clock)
    for _ in range(3):
        with pytest.raises(TransientError, match=r"get credentials from \S+login: it ended with code 3: log in first$"):
            await plugin.current()
    assert len(program.runs) == 1
    clock.seconds += 6
    program.exits(0)
    assert (await plugin.current()).token == "t"


async def test_a_missing_plugin_comes_with_its_hint(tmp_path: Path, clock: HandClock) -> None:
    plugin = Plugin(command=str(tmp_path / "none"), version="v1", install_hint="Install it from\nthe cloud")
    with pytest.raises(TransientError, match=r"No such file or directory\. Install it from the cloud"):
        await PluginCredentials(plugin, Cluster(server="https://k"), environment={}, clock=clock).current()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("nonsense", "no ExecCredential"),
        (
            '{"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": "t"}}',
            "not client",
        ),
        ('{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}', "neither a token nor"),
        (
            '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"clientKeyData": "k", "token": "t"}}',
            "a key without its certificate",
        ),
        (
            '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "a\\nb"}}',
            "a header cannot",
        ),
    ],
)
async def test_what_a_plugin_prints_is_checked(program: Program, clock: HandClock, answer: str, message: str) -> None:
    (program.directory / "answer").write_text(answer)
    with pytest.raises(TransientError, match=message):
        await program.credentials(clock).current()
