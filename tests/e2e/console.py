"""Pages that are typed in: the ```console blocks of a page go through one shell, and what it prints is compared with the page.

A line that begins with `$ ` is a command, `> ` continues it, everything else is what the page says is printed. In that, `…` stands for
any text of a line, and a line of nothing else for any number of lines; ids, times, durations, ports and pids differ from run to run, so
any will do. An id, a port, a pid or a `sha256:` that was printed takes the place of the one on the page where a later command uses it. A block of
```console server is the other terminal: its command runs in the background, until the page ends.

DOCS_WRITE=1 puts what was printed into the page instead; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITES = os.environ.get("DOCS_WRITE") == "1"
COMMAND_SECONDS_MAX = 90.0
READY_SECONDS_MAX = 20.0
HOME_SHOWN = "/home/you"
_BLOCK = re.compile(r"^```console( server)?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)

_VARYING = re.compile(
    r"(?P<any>…)"
    r"|(?P<digest>sha256:[0-9a-f]{64})"
    r"|(?P<id>\b(?=[0-9a-f]*\d)[0-9a-f]{7,40}\b)"
    r"|(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?)"
    r"|(?P<log>\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\])"
    r"|(?P<date>\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4} [+-]\d{4})"
    r"|(?P<length>\b(?:a moment|\d+ (?:second|minute|hour|day)s?|\d+(?:\.\d+)? s)\b)"
    r"|(?P<port>(?<=127\.0\.0\.1:)\d{4,5}\b)"
    r"|(?P<pid>(?<=process )\d+\b)"
    r"|(?P<blank>[ \t]+)"
)
_PATTERNS = {
    "any": r".*",
    "digest": r"sha256:[0-9a-f]{64}",
    "id": r"[0-9a-f]{7,40}",
    "time": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?",
    "log": r"\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\]",
    "date": r"\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4} [+-]\d{4}",
    "length": r"(?:a moment|\d+ (?:second|minute|hour|day)s?|\d+(?:\.\d+)? s)",
    "port": r"\d{4,5}",
    "pid": r"\d+",
    "blank": r"[ \t]+",
}
_KEPT = ("digest", "id", "port", "pid")
"""What a later command may use: the word on the page gives way to the word that was printed."""


@dataclass
class Command:
    """One command of a page with the lines that the page says it prints."""

    text: str
    expected: list[str] = field(default_factory=list)
    server: bool = False


def commands_of(page: str) -> list[Command]:
    """Every command of a page, in order. Raises ValueError for output that no command stands before."""
    found: list[Command] = []
    for server, body in _BLOCK.findall(page):
        first = len(found)
        for line in body.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:], server=bool(server)))
            elif len(found) == first:
                raise ValueError(f"this is printed by no command: {line}")
            elif line.startswith("> ") and not found[-1].expected:
                found[-1].text += "\n" + line[2:]
            else:
                found[-1].expected.append(line)
    return found


class Page:
    """A page that is typed in, in a home directory of its own."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self.home = home
        self.words: dict[str, str] = {}
        self._servers: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "HOME": str(home),
            "PATH": f"{home}/.local/bin:{os.environ['PATH']}",
            "COLUMNS": "200",
            "TZ": "UTC",
        }
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            cwd=home,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def type_in(self) -> None:
        """Every command, in order. Raises AssertionError where the page is not true."""
        page = self.path.read_text(encoding="utf-8")
        commands = commands_of(page)
        assert commands, f"{self.path} has no commands"
        for command in commands:
            printed = self.serve(command.text) if command.server else self.run(command.text)
            wrong = self.differs(command.expected, printed)
            if wrong and WRITES:
                command.expected = printed
                self.differs(printed, printed)
            elif wrong:
                raise AssertionError(f"{self.path.relative_to(ROOT)}: $ {command.text}\n{wrong}\nprinted:\n" + "\n".join(printed))
        if WRITES:
            self.path.write_text(_written(page, commands), encoding="utf-8")

    def run(self, text: str) -> list[str]:
        """What a command prints, as the page would show it."""
        assert self._shell.stdin is not None
        mark = f"-- {time.monotonic_ns()} --"
        line = f"eval {_quoted(self._with_words(text))} </dev/null; echo; echo {_quoted(mark)}\n"
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()
        return self._shown(self._until(mark))

    def serve(self, text: str) -> list[str]:
        """Start the server of the other terminal; its log is thrown away. Returns its first line."""
        where = self.run("pwd")[0].replace(HOME_SHOWN, str(self.home))
        server = subprocess.Popen(
            ["bash", "-c", f"exec {self._with_words(text)}"],
            cwd=where,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._servers.append(server)
        assert server.stdout is not None
        readable, _, _ = select.select([server.stdout], [], [], READY_SECONDS_MAX)
        return self._shown(server.stdout.readline().decode()) if readable else []

    def close(self) -> None:
        """End the shell, the servers, and what these run."""
        for server in self._servers:
            server.send_signal(signal.SIGTERM)
        for server in self._servers:
            server.wait(10)
            if server.stdout is not None:
                server.stdout.close()
        for data in {path.parent for path in self.home.rglob("installation")}:
            subprocess.run(
                ["trimtab", "down", "--data", str(data)], env=self._environment, check=False, capture_output=True, timeout=60
            )
        for stream in (self._shell.stdin, self._shell.stdout):
            if stream is not None:
                stream.close()
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGTERM)  # what a page left in the background when it proved untrue
        self._shell.wait(10)

    def differs(self, expected: list[str], printed: list[str]) -> str:
        """Which line of the page is not printed; "" when all are. Keeps the words that later commands use."""
        at = 0
        anywhere = False
        for line in expected:
            if line == "…":
                anywhere = True
                continue
            pattern, names = _pattern(line)
            found = None
            while at < len(printed) and (found := pattern.fullmatch(printed[at])) is None and anywhere:
                at += 1
            if found is None:
                return f"the page says: {line}"
            self.words |= {word: found[name] for name, word in names.items()}
            at, anywhere = at + 1, False
        rest = printed[at:]
        return f"the page does not say: {rest[0]}" if rest and not anywhere else ""

    def _with_words(self, text: str) -> str:
        for word, printed in sorted(self.words.items(), key=lambda pair: -len(pair[0])):
            text = re.sub(rf"\b{re.escape(word)}\b", printed, text)
        return text

    def _until(self, mark: str) -> str:
        assert self._shell.stdout is not None
        end, seen = time.monotonic() + COMMAND_SECONDS_MAX, b""
        while not seen.endswith(f"\n{mark}\n".encode()):
            left = end - time.monotonic()
            readable, _, _ = select.select([self._shell.stdout], [], [], max(0.0, left))
            assert readable, f"no end after {COMMAND_SECONDS_MAX} s: {seen.decode(errors='replace')[-2000:]}"
            more = os.read(self._shell.stdout.fileno(), 65_536)
            assert more, f"the shell ended: {seen.decode(errors='replace')[-2000:]}"
            seen += more
        return seen.decode(errors="replace")[: -len(mark) - 2]

    def _shown(self, text: str) -> list[str]:
        lines = text.replace(str(self.home), HOME_SHOWN).rstrip("\n").split("\n")
        return [line.rstrip() for line in lines] if lines != [""] else []


@contextmanager
def opened(path: Path) -> Iterator[Page]:
    """A page in a home of its own, which has a clone of Trimtab's repository in ~/trimtab, as far as pages need one."""
    # Not tmp_path: a socket's path may have 107 characters, and somebody's home is shorter than that.
    with tempfile.TemporaryDirectory(prefix="home-") as name:
        home = Path(name).resolve()
        (home / "trimtab").mkdir()
        (home / "trimtab" / "examples").symlink_to(ROOT / "examples")
        (home / ".local" / "bin").mkdir(parents=True)
        (home / ".local" / "bin" / "trimtab").symlink_to(Path(sys.executable).parent / "trimtab")
        page = Page(path, home)
        try:
            yield page
        finally:
            page.close()
            _make_removable(home)


def _make_removable(home: Path) -> None:
    """Trees that a Process runs in are read-only."""
    for directory, _, _ in os.walk(home):
        with suppress(OSError):
            Path(directory).chmod(0o700)


def _pattern(line: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """What a printed line has to look like, and which of its groups stands for which word of the page."""
    parts, names, at = [], {}, 0
    for number, found in enumerate(_VARYING.finditer(line)):
        kind = found.lastgroup or ""
        parts.append(re.escape(line[at : found.start()]))
        if kind in _KEPT:
            names[f"w{number}"] = found[0]
            parts.append(f"(?P<w{number}>{_PATTERNS[kind]})")
        else:
            parts.append(_PATTERNS[kind])
        at = found.end()
    return re.compile("".join(parts) + re.escape(line[at:])), names


def _written(page: str, commands: list[Command]) -> str:
    left = iter(commands)

    def block(found: re.Match[str]) -> str:
        lines = []
        for _ in range(len(re.findall(r"^\$ ", found[2], flags=re.MULTILINE))):
            command = next(left)
            first, *others = command.text.split("\n")
            lines += [f"$ {first}", *(f"> {other}" for other in others), *command.expected]
        return "\n".join([f"```console{found[1] or ''}", *lines, "```"])

    return _BLOCK.sub(block, page)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
