"""The git command line, in an environment that asks nobody, runs no hooks of ours and speaks only the transports we allow.

One `Git` for all mirrors. Arguments come in; a Finished goes out, whatever its exit code; what a failure means is decided in
failures.py. Nothing of the user's or the system's git configuration is read: two runs on two machines do the same.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trimtab.core.model.errors import TransientError, UserError
from trimtab.plumbing.processes import Finished, NotStarted, TimedOut, TooMuchOutput, clean_environment, run

from .remote import Remote

_VERB = re.compile(r"[a-z][a-z-]*")
OUTPUT_BYTES_MAX = 32 * 1024 * 1024
NETWORK_CALLS_MAX = 16

# What fsck finds in old but honest history and what does no harm. All else (".git" or ".." as a name, broken objects) is refused.
_HARMLESS = (
    *("badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "missingEmail", "missingNameBeforeEmail"),
    *("missingSpaceBeforeDate", "missingSpaceBeforeEmail", "zeroPaddedDate", "zeroPaddedFilemode", "badFilemode", "badTagName"),
    *("missingTaggerEntry", "nulInCommit", "extraHeaderEntry", "gitmodulesParse", "gitmodulesName", "gitmodulesUrl"),
)

_CONFIG = """\
# Written by Trimtab at each start. The only configuration that its git reads.
[safe]
    directory = *
[init]
    defaultBranch = main
[protocol]
    allow = never
[protocol "file"]
    allow = always
[protocol "http"]
    allow = always
[protocol "https"]
    allow = always
[protocol "ssh"]
    allow = always
[protocol "ext"]
    allow = never
[http]
    lowSpeedLimit = 1000
    lowSpeedTime = 30
[core]
    fsmonitor = false
    packedRefsTimeout = 5000
    filesRefLockTimeout = 1000
[gc]
    auto = 0
    autoDetach = false
    pruneExpire = 6.weeks.ago
    reflogExpire = never
[maintenance]
    auto = false
[advice]
    fetchShowForcedUpdates = false
"""


@dataclass(frozen=True)
class GitSettings:
    """``credential_helper`` is a value for git's ``credential.helper``; ``ssh_command`` takes the place of ssh with its options.

    ``fsck`` checks every object that comes in. Times in seconds: ``clone`` for the first fetch, ``fetch`` for the others.
    """

    fetch_timeout_seconds: float = 120.0
    clone_timeout_seconds: float = 900.0
    push_timeout_seconds: float = 60.0
    credential_helper: str = ""
    ssh_command: str = ""
    fsck: bool = True
    program: str = "git"


class Git:
    """Runs git. ``root`` is a directory of ours, for the configuration file and an empty home."""

    def __init__(self, root: Path, settings: GitSettings) -> None:
        self.settings = settings
        home = root / "home"
        home.mkdir(parents=True, exist_ok=True)
        config = root / "gitconfig"
        config.write_text(_CONFIG + _fsck(settings.fsck), encoding="utf-8")
        self._environment = _environment(home, config, settings)
        self._network = asyncio.Semaphore(NETWORK_CALLS_MAX)

    async def local(
        self,
        directory: Path,
        *arguments: str,
        timeout_seconds: float = 60.0,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run in a repository of ours. Raises TransientError when git cannot be run or takes too long."""
        extra = {**self._options([]), **(environment or {})}
        return await self._run(["-C", str(directory), *arguments], extra, timeout_seconds, stdin)

    def environment(self, *options: tuple[str, str]) -> dict[str, str]:
        """The whole environment of a git with these configuration options, for those who start it themselves."""
        return {**self._environment, **self._options(list(options))}

    def options(self, *options: tuple[str, str]) -> dict[str, str]:
        """Configuration options for one call of `local`, as variables."""
        return self._options(list(options))

    async def remote(self, directory: Path, remote: Remote, *arguments: str, timeout_seconds: float) -> Finished:
        """As `local`, for what talks to ``remote``: with its credentials, and only so many at once."""
        extra, secrets = _credentials(remote, self.settings.credential_helper)
        async with self._network:
            environment = {**self._options(extra), **secrets}
            return await self._run(["-C", str(directory), *arguments], environment, timeout_seconds, b"", remote.name)

    async def _run(
        self, arguments: Sequence[str], extra: dict[str, str], timeout_seconds: float, stdin: bytes, name: str = ""
    ) -> Finished:
        doing = f"git {next(filter(_VERB.fullmatch, arguments[2:]), '')} {name}".rstrip()
        try:
            return await run(
                [self.settings.program, *arguments],
                environment={**self._environment, **extra},
                timeout_seconds=timeout_seconds,
                output_bytes_max=OUTPUT_BYTES_MAX,
                stdin=stdin,
            )
        except NotStarted as error:
            raise UserError(f"{doing}: cannot start git: {error}", remedy="Install git and see that it is on the PATH") from error
        except TimedOut as error:
            raise TransientError(f"{doing}: gave up after {timeout_seconds:g} s") from error
        except TooMuchOutput as error:
            raise TransientError(f"{doing}: printed more than {OUTPUT_BYTES_MAX} bytes") from error

    def _options(self, extra: list[tuple[str, str]]) -> dict[str, str]:
        """Configuration by environment. Git takes it away before it starts the other end of a local fetch or push, so hooks are off
        in our mirrors and stay on in the repository that we push to: they are its owner's policy.
        """
        options = [("core.hooksPath", "/dev/null"), *extra]
        numbered = {f"GIT_CONFIG_KEY_{at}": key for at, (key, _) in enumerate(options)}
        numbered |= {f"GIT_CONFIG_VALUE_{at}": value for at, (_, value) in enumerate(options)}
        return {"GIT_CONFIG_COUNT": str(len(options)), **numbered}


def _environment(home: Path, config: Path, settings: GitSettings) -> dict[str, str]:
    ssh = settings.ssh_command or "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3"
    return clean_environment(
        home,
        keep=["SSH_AUTH_SOCK", "GIT_SSL_CAINFO", "GIT_EXEC_PATH"],
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=str(config),
        GIT_ATTR_NOSYSTEM="1",
        GIT_TERMINAL_PROMPT="0",
        GIT_ASKPASS="false",
        SSH_ASKPASS_REQUIRE="never",
        GIT_SSH_COMMAND=ssh,
        GIT_ALLOW_PROTOCOL="file:http:https:ssh",
        GIT_PROTOCOL_FROM_USER="0",
        GIT_NO_LAZY_FETCH="1",
        GIT_NO_REPLACE_OBJECTS="1",
        GIT_OPTIONAL_LOCKS="0",
        GIT_DEFAULT_HASH="sha1",
        GIT_DEFAULT_REF_FORMAT="files",
        GIT_FLUSH="0",
    )


def _fsck(wanted: bool) -> str:
    lines = "".join(f"    {name} = ignore\n" for name in _HARMLESS)
    return f'[transfer]\n    fsckObjects = {str(wanted).lower()}\n[fetch "fsck"]\n{lines}[fsck]\n{lines}'


def _credentials(remote: Remote, helper: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """User and password of a URL reach git by the environment, which only we can read; the command line is everybody's."""
    options = [("credential.helper", helper)] if helper else []
    if not remote.password:
        return [*options, *([("credential.username", remote.user)] if remote.user else [])], {}
    answer = (
        r"""!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$TRIMTAB_GIT_USER" "$TRIMTAB_GIT_PASSWORD"; }; f"""
    )
    options = [("credential.helper", ""), (f"credential.{remote.url}.helper", answer), ("credential.useHttpPath", "true")]
    return options, {"TRIMTAB_GIT_USER": remote.user, "TRIMTAB_GIT_PASSWORD": remote.password}
