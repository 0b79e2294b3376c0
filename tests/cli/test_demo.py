"""The parts of the demo: what is untrue ends it, every failed visit is counted, and the screen is as wide as it says."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from trimtab.cli.demo import shop
from trimtab.cli.demo.checks import Checks, Untrue
from trimtab.cli.demo.customers import Customers, visit
from trimtab.cli.demo.screen import Screen
from trimtab.cli.demo.stage import typed

from .conftest import Line


@pytest.fixture
def checks() -> Checks:
    return Checks(Screen(silent=True), patience_seconds=0.05)


def test_an_untrue_claim_raises_with_what_was_seen(checks: Checks) -> None:
    checks.check("the sky is blue", True, measured="470 nm")
    with pytest.raises(Untrue, match="the grass is green: brown"):
        checks.check("the grass is green", False, seen="brown")
    assert [check.claim for check in checks.done] == ["the sky is blue"]


def test_what_does_not_become_true_in_time_is_untrue(checks: Checks) -> None:
    looks = iter(range(1_000_000))
    assert checks.wait("it counts", lambda: next(looks), lambda found: found >= 3) == 3
    with pytest.raises(Untrue, match=r"not within 0\.05 s; what was seen last: no"):
        checks.wait("it says yes", lambda: "no", lambda found: found == "yes")


def test_the_summary_names_each_claim_once_with_what_was_measured_last(checks: Checks) -> None:
    for claim, measured in (("no request failed", "10"), ("all is well", ""), ("no request failed", "20")):
        checks.check(claim, True, measured=measured)
    assert [(check.claim, check.measured) for check in checks.summary()] == [("all is well", ""), ("no request failed", "20")]


class _Moody(BaseHTTPRequestHandler):
    """Fails every third request."""

    number = 0

    def do_GET(self) -> None:
        type(self).number += 1
        if self.number % 3 == 0:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Served-By", "4711")
        self.end_headers()
        self.wfile.write(b"welcome\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def moody() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Moody) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_customers_remember_every_failed_request(moody: str) -> None:
    with Customers([moody]) as customers:
        while customers.answered < 6:
            time.sleep(0.01)
    assert customers.failures[:2] == [f"{moody}: HTTP 503 Service Unavailable"] * 2
    assert (customers.pids, customers.said) == ({4711}, {"welcome"})


def test_a_shop_that_does_not_answer_is_an_error(free_port: int) -> None:
    with pytest.raises(OSError, match="refused"):
        visit(f"127.0.0.1:{free_port}")


def test_no_line_is_wider_than_the_screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    screen = Screen()
    text = '{"a":"' + "b" * 70 + '","c":"\x1b[2J' + "d e " * 30 + '"}'
    screen.act("A title", "Why " * 40)
    screen.command("trimtab " + "status " * 20)
    screen.output(text)
    screen.output(text, wrap=True)
    screen.output("line\n" * 20)
    screen.tick("a claim " * 12, "what was measured")
    screen.tick("a claim that is quite long, but fits", "what was measured, at length")
    screen.tick("short", "12 ms")
    screen.cross("a claim", text)
    screen.pairs([("cd " + "x" * 40, ""), ("trimtab down", "end all of it")])
    screen.progress("never where there is no terminal")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 60
    assert not any("\x1b" in line or "never" in line for line in lines)
    assert "  ✓ short                                              12 ms" in lines
    assert "  trimtab down  end all of it" in lines
    assert "    … and 8 more lines" in lines


def test_without_unicode_the_screen_uses_plain_signs(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    sys.stdout.reconfigure(encoding="ascii")  # type: ignore[union-attr]
    Screen().tick("a claim", "")
    assert capsysbinary.readouterr().out == b"  + a claim\n"


def test_a_command_is_shown_as_a_person_would_type_it() -> None:
    assert typed("git", "log", "--format=%h %s", "-2") == "git log --format='%h %s' -2"
    assert typed("git", "commit", "-m", "Tidy up", "--all") == "git commit -m 'Tidy up' --all"


def test_the_repository_is_sound_whatever_its_place_is_called(tmp_path: Path) -> None:
    place = tmp_path / 'it\'s a "shop" {place}, [of] # kinds'
    place.mkdir()
    shop.write(place / "shop", place)
    documents = {file.stem: yaml.safe_load(file.read_text()) for file in (place / "shop" / "production").iterdir()}
    assert documents["api"]["spec"]["environment"]["PRICES"] == str(place / "production" / "prices.json")
    assert documents["web"]["spec"] | {"replicas": 2, "command": [sys.executable, "web.py"]} == documents["web"]["spec"]
    shop.release(place / "shop", 2)
    shop.release(place / "shop", 3, needs="/discounts")
    program = (place / "shop" / shop.PROGRAM).read_text()
    assert "RELEASE = 3" in program
    assert 'NEEDS = ["/prices", "/discounts"]' in program


def test_a_directory_that_is_not_empty_is_refused(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    result = line("demo", str(tmp_path))
    assert result.code == 2
    assert "is not empty. Name a new directory, or none." in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
