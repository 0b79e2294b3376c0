"""Where the demo is played: a directory with a repository and a server's data, and every command that is run there.

    DIRECTORY/seed         what the operator pushes first
    DIRECTORY/shop         the clone of Ada, who proposes
    DIRECTORY/data         the data directory of the server, which keeps the repository
    DIRECTORY/.gitconfig, DIRECTORY/.git-credentials    what git is told, and where it keeps Ada's token
    DIRECTORY/staging, DIRECTORY/production    where the shop's files are written
    DIRECTORY/serve.log    what the server says

The person's settings of git and of Trimtab have no say: hooks, templates, signing and other servers stay outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from trimtab.cli.demo import shop
from trimtab.cli.demo.checks import Untrue
from trimtab.cli.demo.screen import Screen

TRIMTAB = (sys.executable, "-P", "-m", "trimtab.cli")
# -P: the current directory is a repository, and no place to import from.
COMMAND_SECONDS_MAX = 90.0
READY_SECONDS_MAX = 30.0
END_SECONDS_MAX = 5.0
LOG_LINES = 15
GIT_SETTINGS = {
    "user.name": "Ada Adams",
    "user.email": "ada@example.org",
    "push.default": "current",
    "pull.ff": "only",
    "advice.detachedHead": "false",
    "commit.gpgSign": "false",
    "core.hooksPath": os.devnull,
    "core.autocrlf": "false",
    "gc.auto": "0",
}


class Stage:
    def __init__(self, directory: Path, screen: Screen) -> None:
        self.directory = directory
        self.seed = directory / "seed"
        self.repository = directory / "shop"
        self.url = ""
        self.tokens: dict[str, str] = {}
        self.data = directory / "data"
        self._log = directory / "serve.log"
        self._screen = screen
        self._server: subprocess.Popen[bytes] | None = None
        self._environment = _environment(self.data)

    # --- the beginning

    def make(self) -> None:
        """The directory and the repository, with nothing committed yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        helper = f"store --file={shlex.quote(str(self.directory / '.git-credentials'))}"
        for name, value in (*GIT_SETTINGS.items(), ("credential.helper", helper)):
            self.git("config", "--file", str(self.directory / ".gitconfig"), name, value, shown=False, cwd=self.directory)
        self.git("init", "--quiet", "--template=", str(self.seed), shown=False, cwd=self.directory)
        self.git("symbolic-ref", "HEAD", "refs/heads/main", shown=False)
        shop.write(self.seed, self.directory)

    def serve(self) -> None:
        """Start the server and wait for its line. Raises Untrue when it does not come."""
        self._screen.command(f"cd {shlex.quote(str(self.seed))}")
        self._screen.command(f"export TRIMTAB_DATA={shlex.quote(str(self.data))}")
        self._screen.command("trimtab serve --repository hosted:shop &")
        out = self.directory / "serve.out"
        with out.open("wb") as standard_output, self._log.open("wb") as standard_error:
            self._server = subprocess.Popen(
                [*TRIMTAB, "serve", "--repository", "hosted:shop", "--data", str(self.data)],
                cwd=self.seed,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=standard_output,
                stderr=standard_error,
                # Ctrl-C is for the demo, which ends the server in its own time; and with --keep the server goes on.
                start_new_session=True,
            )
        end = time.monotonic() + READY_SECONDS_MAX
        while "trimtab ready " not in (said := out.read_text()):
            if self._server.poll() is not None or time.monotonic() > end:
                raise Untrue("the server starts", f"`trimtab serve` printed {said!r} and ended with {self._server.poll()}")
            time.sleep(0.02)
        self._screen.output(said)
        self.url = said.partition("trimtab ready ")[2].split()[0]

    def push_first(self) -> None:
        """The operator fills the new repository; from then on its main branch moves by changes alone."""
        self.keep("operator", (self.data / "token").read_text().strip())
        self.git("remote", "add", "origin", f"{self.url}/git/shop.git")
        self.git("push", "--quiet", "origin", "main")

    def clone(self, user: str) -> None:
        """A token for ``user``, kept where git looks, and a clone; from now on every git is theirs."""
        self.token(user)
        self.keep(user, self.tokens[user])
        self.git("clone", "--quiet", "--template=", f"{self.url}/git/shop.git", str(self.repository), cwd=self.directory)
        self._screen.command(f"cd {shlex.quote(str(self.repository))}")

    def token(self, user: str) -> None:
        """Made by the operator, shown once. Here it is not shown at all."""
        self._screen.command(f"trimtab token create --user {user}")
        self.tokens[user] = self.part("secret", "token", "create", "--user", user)

    def keep(self, user: str, token: str) -> None:
        """As `git credential approve` would."""
        scheme, _, host = self.url.partition("://")
        file = self.directory / ".git-credentials"
        file.write_text(f"{scheme}://{user}:{token}@{host}\n")
        file.chmod(0o600)

    # --- commands

    def by(self, user: str, *arguments: str, codes: tuple[int, ...] = (0,), lines: int = 12) -> str:
        """As `trimtab`, under the token of ``user``: in the clone the server is known."""
        line = typed("trimtab", *arguments)
        self._screen.command(line, who=user)
        environment = {name: value for name, value in self._environment.items() if name != "TRIMTAB_DATA"}
        text = self._run([*TRIMTAB, *arguments], codes, line, environment={**environment, "TRIMTAB_TOKEN": self.tokens[user]})
        self._screen.output(text, lines_max=lines, wrap=True)
        return text

    def pushed(self, *arguments: str, lines: int = 16) -> str:
        """Run and show `git push …` with what the server says, as a terminal has it."""
        line = typed("git", "push", *arguments)
        self._screen.command(line)
        text = self._run(["git", "push", *arguments], (0,), line)
        said = [one.removeprefix("remote: ").rstrip() for one in text.splitlines() if one.startswith("remote: ")]
        self._screen.output("\n".join(f"remote: {one}" for one in said), lines_max=lines, wrap=True)
        return text

    def trimtab(self, *arguments: str, codes: tuple[int, ...] = (0,), lines: int = 12, wrap: bool = False) -> str:
        """Run and show `trimtab …`. Returns what it printed; raises Untrue for an exit code that is not among ``codes``."""
        line = typed("trimtab", *arguments)
        self._screen.command(line)
        text = self._run([*TRIMTAB, *arguments], codes, line)
        self._screen.output(text, lines_max=lines, wrap=wrap)
        return text

    def git(self, *arguments: str, shown: bool = True, lines: int = 1, wrap: bool = False, cwd: Path | None = None) -> str:
        """Run `git …`, and show it with its first ``lines`` lines."""
        line = typed("git", *arguments)
        if shown:
            self._screen.command(line)
        text = self._run(["git", *arguments], (0,), line, cwd=cwd)
        if shown:
            self._screen.output("\n".join([one for one in text.splitlines() if one.strip()][:lines]), wrap=wrap)
        return text

    def ask(self, *arguments: str) -> Any:
        """What `trimtab … --output json` answers, whatever the exit code. None where it answers nothing."""
        command = [*TRIMTAB, *arguments, "--output", "json"]
        try:
            done = subprocess.run(
                command,
                cwd=self.place,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_SECONDS_MAX,
                check=False,
            )
            return json.loads(done.stdout)
        except (ValueError, subprocess.TimeoutExpired):
            return None

    def part(self, name: str, *arguments: str) -> Any:
        """The part of that name of what `trimtab …` answers. Raises Untrue where there is none."""
        answer = self.ask(*arguments)
        if not isinstance(answer, dict) or name not in answer:
            raise Untrue(f"`{typed('trimtab', *arguments)}` answers", f"{answer}")
        return answer[name]

    def head(self) -> str:
        return self.git("rev-parse", "HEAD", shown=False).strip()

    # --- the end

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        with contextlib.suppress(OSError):
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        return ""

    def close(self) -> list[str]:
        """End the server and everything that it runs. Returns what went wrong."""
        if self._server is None:
            return []
        pids = self.pids()
        wrong = []
        self._server.terminate()
        try:
            self._server.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
            wrong.append(f"the server did not end within {END_SECONDS_MAX:g} s and was killed")
        # A server that was interrupted while it started may not have got as far as to have a data directory.
        if (self.data / "installation").exists():
            try:
                self._run([*TRIMTAB, "down"], (0,), "trimtab down", session=True)
            except Untrue as error:
                wrong.append(str(error))
        end = time.monotonic() + END_SECONDS_MAX
        while (left := [pid for pid in pids if exists(pid)]) and time.monotonic() < end:
            time.sleep(0.02)
        return [*wrong, *(f"process {pid} still runs" for pid in left)]

    def leave(self) -> None:
        """Let the server go on without us."""
        if self._server is not None:
            # Nobody waits for it any more; Python would warn of a child that is forgotten.
            self._server.returncode = 0

    def remove(self) -> None:
        """Remove the directory, also what was made read-only in it."""
        for folder, _, _ in os.walk(self.directory):
            with contextlib.suppress(OSError):
                Path(folder).chmod(0o700)
        shutil.rmtree(self.directory, ignore_errors=True)

    def pids(self) -> list[int]:
        """Every process of the shop that runs now."""
        found = self.ask("app", "show", "shop") or {}
        objects = [one for application in found.get("applications", []) for one in application["objects"]]
        return [live["pid"] for one in objects for live in one["status"].get("instances", []) if live["pid"]]

    @property
    def place(self) -> Path:
        """Where commands are typed."""
        return next((one for one in (self.repository, self.seed) if one.exists()), self.directory)

    def _run(
        self,
        command: list[str],
        codes: tuple[int, ...],
        line: str,
        *,
        cwd: Path | None = None,
        session: bool = False,
        environment: dict[str, str] | None = None,
    ) -> str:
        try:
            done = subprocess.run(
                command,
                cwd=cwd or self.place,
                env=environment or self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=COMMAND_SECONDS_MAX,
                check=False,
                start_new_session=session,
            )
        except FileNotFoundError:
            raise Untrue(f"`{line}` can be run", f"there is no {command[0]}; install it") from None
        except subprocess.TimeoutExpired:
            raise Untrue(f"`{line}` ends", f"not within {COMMAND_SECONDS_MAX:g} s") from None
        if done.returncode not in codes:
            raise Untrue(f"`{line}` ends with {codes[0]}", f"it ended with {done.returncode}: {done.stdout.strip()}")
        return done.stdout


def typed(*arguments: str) -> str:
    """A command line as a person would type it, with the value of an option quoted and not the option."""
    pairs = [argument.partition("=") if argument.startswith("--") else ("", "", argument) for argument in arguments]
    return " ".join(option + equals + (shlex.quote(value) if value or not option else "") for option, equals, value in pairs)


def _environment(data: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "TRIMTAB_", "_TRIMTAB_"))
        and name not in ("LANGUAGE", "LC_ALL", "FORCE_COLOR")
        and not name.lower().endswith("_proxy")
    }
    own = {
        "TRIMTAB_DATA": str(data),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(data.parent / ".gitconfig"),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "LC_ALL": "C.UTF-8",
        # A git that does not know GIT_CONFIG_GLOBAL yet looks below these.
        "HOME": str(data.parent),
        "XDG_CONFIG_HOME": str(data.parent),
    }
    return kept | own


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
