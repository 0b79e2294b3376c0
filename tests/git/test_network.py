"""Remotes over http and ssh: the same answers, with credentials that nobody sees."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trimtab.core.model.errors import TransientError, TrimtabError, UserError
from trimtab.git import GitRepositories
from trimtab.git.command import GitSettings

USER, PASSWORD = "deploy", "hush/hush@1"
URL_CREDENTIALS = "deploy:hush%2Fhush%401"


class Backend(BaseHTTPRequestHandler):
    """Smart HTTP by git's own CGI program. Below /private/ it asks for the password."""

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self._serve()

    def log_message(self, *arguments):
        pass

    def _serve(self):
        self.server.requests.append(self.requestline)
        if self.server.broken:
            self.send_error(self.server.broken)
            return
        path, _, query = self.path.partition("?")
        if path.startswith("/private/"):
            expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path = path.removeprefix("/private")
        self._cgi(path, query)

    def _cgi(self, path, query):
        length = self.headers.get("Content-Length", "0")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.server.root / "config"),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": length,
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "someone",
            "REMOTE_ADDR": "127.0.0.1",
        }
        body = self.rfile.read(int(length)) if self.headers.get("Transfer-Encoding") != "chunked" else self._chunks()
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


@pytest.fixture
def server(bare, tmp_path):
    (tmp_path / "config").write_text("[safe]\n\tdirectory = *\n[http]\n\treceivepack = true\n")
    made = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    made.root, made.requests, made.broken = tmp_path, [], 0
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def _url(server, path="bare.git", credentials=""):
    return f"http://{credentials}127.0.0.1:{server.server_port}/{path}"


async def test_http(repositories, source, bare, server):
    """Fetch, poll, a new commit, a renamed default branch, notes and a commit of ours."""
    name = _url(server)
    assert await repositories.fetch(name)
    head = await repositories.resolve(name, "")
    assert (head.revision, head.ref) == (source.head(), "refs/heads/main")
    server.requests.clear()
    assert not await repositories.fetch(name)
    assert len(server.requests) <= 2
    new = source.commit(b="1")
    source.git("push", "--quiet", "origin", "main", "main:trunk")
    bare.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    assert await repositories.fetch(name)
    newer = source.commit(b="2")
    source.git("push", "--quiet", "origin", "main:trunk")
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "main")).revision == new
    assert (await repositories.resolve(name, "")).ref == "refs/heads/trunk"
    await repositories.note(name, newer, ("live",))
    assert bare.git("notes", "--ref=trimtab", "show", newer) == "live"
    commit = await repositories.propose(name, "trunk", "back", "A <a@b>", {"b.yaml": None})
    assert bare.head("trunk") == commit


async def test_http_empty_repository(repositories, server, make):
    """An empty repository behind http is no error until somebody asks for a commit."""
    make("empty.git", bare=True)
    name = _url(server, "empty.git")
    await repositories.fetch(name)
    with pytest.raises(UserError, match="has no commit yet"):
        await repositories.resolve(name, "")


async def test_http_with_credentials(repositories, server, source, bare):
    """User and password of the URL are used, and stand neither in the mirror nor in a command line."""
    name = _url(server, "private/bare.git", f"{URL_CREDENTIALS}@")
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == source.head()
    await repositories.note(name, source.head(), ("live",))
    assert bare.git("notes", "--ref=trimtab", "show", source.head()) == "live"
    mirrors = Path(repositories._directory)
    for path in mirrors.rglob("*"):
        assert "hush" not in str(path)
        assert not path.is_file() or b"hush" not in path.read_bytes()


@pytest.mark.parametrize("credentials", ["", "deploy:secretwrong@", "deploy@"])
async def test_http_without_the_right_credentials(repositories, server, credentials):
    """A refusal is the user's to mend, and the message has no password in it."""
    with pytest.raises(UserError, match=r"Give credentials that may read it") as caught:
        await repositories.fetch(_url(server, "private/bare.git", credentials))
    assert "secretwrong" not in str(caught.value)
    assert "deploy" not in str(caught.value)
    assert str(caught.value).count("\n") == 0


async def test_http_credential_helper(server, source, tmp_path):
    """A credential helper from the settings is asked."""
    store = tmp_path / "credentials"
    store.write_text(f"http://{URL_CREDENTIALS}@127.0.0.1%3a{server.server_port}\n")
    made = GitRepositories(tmp_path / "data2", GitSettings(credential_helper=f"store --file={store}"))
    assert await made.fetch(_url(server, "private/bare.git"))
    assert await made.fetch(_url(server, "private/bare.git", "deploy@"))
    await made.close()


async def test_http_errors(repositories, server, source):
    """A missing repository, then a server in trouble and one that is gone: all in one line, and the mirror reads on."""
    with pytest.raises(UserError, match=r"missing\.git.* not found"):
        await repositories.fetch(_url(server, "missing.git"))
    name = _url(server)
    await repositories.fetch(name)
    for status in (500, 503, 403, 404):
        server.broken = status
        with pytest.raises(TransientError, match=f"fetch {name}: ") as caught:
            await repositories.fetch(name)
        assert str(status) in str(caught.value) or "not found" in str(caught.value)
    server.shutdown()
    server.server_close()
    with pytest.raises(TransientError, match=r"(?i)connect"):
        await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == source.head()


@pytest.mark.parametrize("form", ["ssh://git@host.invalid{}", "git@host.invalid:{}", "host.invalid:{}"])
async def test_ssh(source, bare, tmp_path, form):
    """What ssh would run on the other host is git's own service; our side waits on no prompt."""
    ssh = tmp_path / "ssh"
    log = tmp_path / "log"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {log}\nwhile [ $# -gt 1 ]; do shift; done\nexec sh -c "$1"\n')
    ssh.chmod(0o755)
    made = GitRepositories(tmp_path / "data2", GitSettings(ssh_command=str(ssh)))
    name = form.format(bare.path)
    assert await made.fetch(name)
    assert (await made.resolve(name, "")).revision == source.head()
    assert "git-upload-pack" in log.read_text()
    await made.close()


async def test_ssh_refusals(source, tmp_path):
    """The line that says why is the one that is shown."""
    for line, message in (
        ("git@host: Permission denied (publickey).", r"Permission denied \(publickey\).*Give credentials"),
        ("Host key verification failed.", "Host key verification failed.*known hosts"),
        ("ssh: Could not resolve hostname host: Name or service not known", "fetch .*: ssh: Could not resolve hostname host"),
    ):
        ssh = tmp_path / "ssh"
        ssh.write_text(f"#!/bin/sh\necho '{line}' >&2\nexit 255\n")
        ssh.chmod(0o755)
        made = GitRepositories(tmp_path / "data2", GitSettings(ssh_command=str(ssh)))
        with pytest.raises(TrimtabError, match=message):
            await made.fetch("git@host.invalid:x.git")
        await made.close()


async def test_the_default_ssh_asks_nobody(repositories):
    """OpenSSH is started in batch mode."""
    assert "BatchMode=yes" in repositories._git._environment["GIT_SSH_COMMAND"]
    assert repositories._git._environment["GIT_TERMINAL_PROMPT"] == "0"
