"""`trimtab token`, `whoami` and `login`: the secret is printed once, and goes where it can be found again."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from trimtab.client import Client, recall, remember
from trimtab.core.model.errors import UserError
from trimtab.core.model.views import GrantedView, NewTokenView, TokensView, TokenView, WhoView

from .conftest import NOON, Line, Server

URL = "https://trimtab.example.com"
VIEW = TokenView("3f2a91c0d4e5", "ada", "ci", NOON, NOON + timedelta(days=30), "root", ["read"], [], ["staging"], [])
WHO = WhoView(
    "ada", "Ada", False, ["ops"], [GrantedView("g", "deployer", False, {"environments": ["staging"], "paths": ["*"]})], VIEW
)


def test_the_secret_alone_is_on_the_standard_output(line: Line) -> None:
    """So that a script can take it; what people want to know is on the standard error."""
    server = Server(create_token=NewTokenView("ttk_secret", VIEW))
    result = line(
        "token", "create", "--user", "ada", "--expires", "36h", "--action", "read", "--environment", "staging", server=server
    )
    assert (result.code, result.out) == (0, "ttk_secret\n")
    assert "not shown again" in result.err
    ((_, (user,), settings),) = server.asked
    assert (user, settings["days"], settings["actions"], settings["environments"]) == ("ada", 2, ("read",), ("staging",))


def test_tokens_are_listed_and_revoked(line: Line) -> None:
    """A list shows scope, end and use, and never a secret."""
    result = line("token", "list", server=Server(tokens=TokensView([VIEW])))
    assert "actions read; environments staging" in result.out
    assert "never" in result.out
    server = Server(revoke_token=VIEW)
    assert line("token", "revoke", "3f2a", server=server).out == "Token 3f2a91c0d4e5 of ada opens nothing any more.\n"


def test_whoami(line: Line) -> None:
    """Who I am, what I may and by which Grant, and how long the token is good."""
    assert line("whoami", server=Server(whoami=WHO)).out.splitlines() == [
        "ada (Ada), in ops",
        "    deployer of environments staging, by the Grant g",
        "Token 3f2a91c0d4e5: actions read; environments staging; it expires in 30 days (2026-03-02 12:00:00Z)",
    ]
    operator = WhoView("operator", "", True, [], [])
    assert "you are the operator" in line("whoami", server=Server(whoami=operator)).out


def test_a_token_is_kept_by_gits_credential_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `login` keeps, the client and git find; without a helper that is said."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    with pytest.raises(UserError, match="no credential helper"):
        remember(URL, "ada", "ttk_1")
    assert recall(URL) == ""
    subprocess.run(["git", "config", "--global", "credential.helper", "store"], check=True)
    remember(URL, "ada", "ttk_1")
    assert recall(URL) == "ttk_1"
    assert recall("https://other.example.com") == ""
    assert recall("https://trimtab.example.com\npassword=x") == ""
    assert Client.find(server=URL, environ={})._token == "ttk_1"


def test_where_the_token_is_found(tmp_path: Path) -> None:
    """A file that is named comes before the variable, and the variable before the data directory."""
    (tmp_path / "token").write_text("of-data\n")
    (tmp_path / "mine").write_text("of-file\n")
    environ = {"TRIMTAB_DATA": str(tmp_path), "TRIMTAB_SERVER": "http://127.0.0.1:1"}
    assert Client.find(environ=environ)._token == "of-data"
    environ["TRIMTAB_TOKEN"] = "of-variable"
    assert Client.find(environ=environ)._token == "of-variable"
    assert Client.find(environ=environ, token_file=str(tmp_path / "mine"))._token == "of-file"


def test_the_token_file_is_passed_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`trimtab --token-file FILE` holds for whatever command follows."""
    from trimtab.cli.main import run
    from trimtab.cli.session import Session

    found: list[str | None] = []

    def connect(data: str | None, server: str | None, token_file: str | None = None) -> Server:
        found.append(token_file)
        return Server(whoami=WHO)

    assert run(["--token-file", "x", "whoami"], Session(connect=connect)) == 0  # type: ignore[arg-type]
    assert found == ["x"]
