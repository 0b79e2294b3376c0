"""A repository behind a password: it is followed, and the password is told to nobody."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trimtab.testing.served import until

from .conftest import World, text_file

PASSWORD = "hunter2-and-more"
EXPECTED = "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()


class _Guarded(SimpleHTTPRequestHandler):
    """Files of a repository (gitprotocol-http(5), "dumb"), for whoever knows the password."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == EXPECTED:
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def remote(world: World) -> Iterator[str]:
    """A URL with user and password."""
    world.repository.commit({"shop/motd.yaml": text_file("motd", "hello\n")})
    world.repository.git("update-server-info")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Guarded, directory=str(world.repository.path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://ada:{PASSWORD}@127.0.0.1:{server.server_port}/.git"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_password_in_the_url_opens_the_repository_and_is_never_told(world: World, remote: str) -> None:
    served = world.serve("--poll-seconds", "0.2", repository=remote)
    served.healthy(world.repository.git("rev-parse", "HEAD"))
    world.repository.git("commit", "--quiet", "--amend", "--message", "a rewritten history")
    (world.repository.path / "shop" / "motd.yaml").write_text(text_file("motd", "good morning\n"))
    world.repository.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    rewritten = world.repository.git("rev-parse", "HEAD")
    world.repository.git("update-server-info")
    shown = _told(lambda: served.cli("repository", "list").out, rewritten)
    called = remote.replace(f"ada:{PASSWORD}", "***")
    assert f"trimtab repository accept {called} {rewritten}" in shown
    assert served.cli("repository", "accept", called, rewritten).code == 0
    served.healthy(rewritten)
    everything = [shown, served.logged(), served.cli("app", "show", "shop").out, str(served.events()), served.cli("doctor").out]
    assert [text for text in everything if PASSWORD in text] == []


def _told(ask: Callable[[], str], wanted: str) -> str:
    """What ``ask`` answers, once ``wanted`` is in it."""
    return str(until(lambda: next((answer for answer in [ask()] if wanted in answer), "")))


def test_a_wrong_password_is_an_error_that_names_no_password(world: World, remote: str) -> None:
    served = world.serve("--poll-seconds", "0.2", repository=remote.replace(PASSWORD, "wrong-word"))
    shown = _told(lambda: served.cli("repository", "list").out, "Give credentials that may read it")
    assert "wrong-word" not in shown + served.logged() + str(served.events())
