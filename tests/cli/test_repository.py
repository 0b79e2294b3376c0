"""`trimtab repository`: what is followed, and a history that was rewritten."""

from __future__ import annotations

from datetime import timedelta

from trimtab.core.model.views import Accepted, HostedView, RepositoriesView, RepositoryRow

from .conftest import NOON, Line, Server
from .test_status import LATER, OURS

SHOP = "https://git.example.org/shop.git"
WELL = RepositoryRow(SHOP, "", OURS, NOON - timedelta(minutes=1), "", "", "")
REWRITTEN = RepositoryRow(SHOP, "release", OURS, None, "the history was rewritten", f"trimtab repository accept {SHOP} x", LATER)


def test_a_repository_is_shown_with_the_commit_that_counts(line: Line) -> None:
    result = line("repository", "list", server=Server(repositories=RepositoriesView([WELL])))
    assert result == (0, f"{SHOP}: aaaaaaaaaa, seen 1 minute ago (2026-01-31 11:59:00Z)\n", "")


def test_one_that_does_not_move_is_a_failure_with_its_remedy(line: Line) -> None:
    result = line("repository", "list", server=Server(repositories=RepositoriesView([WELL, REWRITTEN])))
    assert result.code == 1
    assert result.out.splitlines()[1:] == [
        f"{SHOP} (release): aaaaaaaaaa",
        "    the history was rewritten",
        f"    trimtab repository accept {SHOP} x",
    ]


def test_none_is_said(line: Line) -> None:
    assert line("repository", "list", server=Server(repositories=RepositoriesView([]))).out == "No repository is followed.\n"


def test_wake_and_accept_are_passed_on(line: Line) -> None:
    server = Server(wake=Accepted("fetching"), accept=Accepted("followed from now on"))
    assert line("repository", "wake", server=server).out == "fetching\n"
    assert line("repository", "accept", SHOP, LATER, server=server).out == "followed from now on\n"
    assert [(method, arguments) for method, arguments, _ in server.asked] == [("wake", ("",)), ("accept", (SHOP, LATER))]


SHOP_HERE = HostedView("hosted:shop", "/git/shop.git", "main", LATER, 2_500_000)


def test_a_hosted_repository_is_shown_with_the_line_that_clones_it(line: Line) -> None:
    """After create, import and show alike."""
    for arguments, method in (
        (("create", "shop", "--default-branch", "trunk"), "create_repository"),
        (("import", "shop", "/srv/old.git"), "import_repository"),
        (("show", "shop"), "hosted"),
    ):
        server = Server(**{method: SHOP_HERE})
        server.url = "http://127.0.0.1:8080"
        result = line("repository", *arguments, server=server)
        assert result.out.splitlines() == [
            f"hosted:shop: main at {LATER[:10]}, 2.5 MB",
            "    git clone http://127.0.0.1:8080/git/shop.git",
        ]
        assert server.asked[-1][0] == method


def test_a_hosted_repository_is_listed_and_taken_out_of_service(line: Line) -> None:
    empty = HostedView("hosted:new", "/git/new.git", "main", "", 0)
    listed = line("repository", "list", server=Server(repositories=RepositoriesView([WELL], [empty])))
    assert listed.out.splitlines()[-1] == "hosted:new: main, nothing pushed yet, 0.0 MB"
    server = Server(delete_repository=Accepted("shop is out of service; its data is kept in /data"))
    assert line("repository", "delete", "shop", server=server).out == "shop is out of service; its data is kept in /data\n"


def test_the_key_of_the_server_is_printed_as_git_wants_it(line: Line) -> None:
    """One line and nothing else, to be appended to a file; a server that cannot sign says where the reason is."""
    signer = 'trimtab namespaces="git" ssh-ed25519 AAAA'
    server = Server(hosted=HostedView("hosted:shop", "/git/shop.git", "main", LATER, 0, signer))
    assert line("repository", "key", "shop", server=server).out == f"{signer}\n"
    without = line("repository", "key", "shop", server=Server(hosted=SHOP_HERE))
    assert without.code == 1
    assert "trimtab doctor" in without.err
