"""The command, the client and a server that speaks HTTP, as three parts of the real thing: found, asked, answered."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from trimtab.core.model.views import ErrorView, StatusView

from .conftest import NOON
from .test_main import HEAVY
from .test_status import OURS, deployment

TRIMTAB = [sys.executable, "-c", "from trimtab.cli.main import main; main()"]
ANSWERS = {
    "/api/v1/status": (200, StatusView(OURS, [deployment()], NOON, True)),
    "/api/v1/doctor": (503, ErrorView("the store does not answer", "Free some space on the disk")),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, view = ANSWERS[self.path.partition("?")[0]]
        if self.headers["Authorization"] != "Bearer open-sesame":
            status, view = 401, ErrorView("the token is missing or wrong")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(view))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a server that runs."""
    folder = tmp_path_factory.mktemp("data")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        (folder / "server.json").write_text(json.dumps({"url": f"http://127.0.0.1:{server.server_port}", "pid": 1}))
        (folder / "token").write_text("open-sesame\n")
        yield folder
        server.shutdown()
        thread.join()


def trimtab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRIMTAB, *arguments], capture_output=True, text=True, check=False, timeout=30)


def test_a_server_is_found_by_its_data_directory_and_asked_with_its_token(data: Path) -> None:
    result = trimtab("status", "--data", str(data))
    assert (result.returncode, result.stderr) == (0, "")
    assert "shop in production: healthy" in result.stdout


def test_json_comes_through_as_the_server_said_it(data: Path) -> None:
    result = trimtab("status", "--data", str(data), "--output", "json")
    assert json.loads(result.stdout) == json.loads(msgspec.json.encode(ANSWERS["/api/v1/status"][1]))


def test_what_the_server_cannot_do_is_told_as_it_says_it(data: Path) -> None:
    result = trimtab("doctor", "--data", str(data))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "trimtab: the store does not answer\nFree some space on the disk\n"


def test_where_no_server_runs_the_command_says_how_to_start_one(tmp_path: Path) -> None:
    result = trimtab("status", "--data", str(tmp_path))
    assert result.returncode == 1
    assert "trimtab serve --repository" in result.stderr


def test_a_question_loads_nothing_of_what_a_server_needs(data: Path) -> None:
    """So it takes a fraction of a second; bench/cli.py has the times."""
    code = f"import sys; from trimtab.cli.main import run; run(['status', '--data', {str(data)!r}]); print(sorted({{*sys.modules}} & {HEAVY!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.splitlines()[-1] == "[]"
