"""The command `trimtab`: its list of commands, and the one place where errors become text, JSON and an exit code.

Exit codes: 0 done or in sync · 1 failed · 2 usage · 3 differences found, or something is held · 130 interrupted.
A command returns its exit code; what it raises is printed here, on the standard error as text, or with `--output json` as one JSON
document on the standard output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from trimtab import __version__
from trimtab.cli.lazy import LazyGroup, Table
from trimtab.cli.session import COMPLETION_VARIABLE, FAILED, INTERRUPTED, USAGE, Session, token_file_option

COMMANDS: Table = {
    "demo": ("trimtab.cli.demo.command:demo", "The whole loop on this machine, in under a minute."),
    "serve": ("trimtab.cli.serve:serve", "Run the server: follow a repository and make this host as it says."),
    "down": ("trimtab.cli.down:down", "End the server and everything that it runs."),
    "status": ("trimtab.cli.status:status", "Where is my commit, and is it well?"),
    "render": ("trimtab.cli.render:render", "What would be applied? Works without a server."),
    "plan": ("trimtab.cli.plan:plan", "What would change? Works without a server."),
    "chart": ("trimtab.cli.chart:chart", "Pin charts of chart repositories."),
    "app": ("trimtab.cli.app:app", "Look at applications, and act on them."),
    "environment": ("trimtab.cli.environment:environment", "Look at environments."),
    "repository": ("trimtab.cli.repository:repository", "Look at the repositories that are followed."),
    "change": ("trimtab.cli.change:change", "Propose, review and merge changes."),
    "events": ("trimtab.cli.events:events", "What has happened?"),
    "audit": ("trimtab.cli.audit:audit", "Who did what, shown, exported, and proven to be unchanged."),
    "token": ("trimtab.cli.token:token", "Make, list and revoke tokens."),
    "whoami": ("trimtab.cli.token:whoami", "Who am I to the server, and what may I do?"),
    "login": ("trimtab.cli.token:login", "Keep a token for a server with git's credential helper."),
    "doctor": ("trimtab.cli.doctor:doctor", "Is everything that Trimtab needs there and well?"),
    "schema": ("trimtab.cli.schema:schema", "The JSON Schema of a kind, for editors and checks."),
    "completion": ("trimtab.cli.completion:completion", "The completion script for a shell."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done or in sync; 1 failed; 2 usage; 3 differences found or held.",
)
@click.version_option(__version__, "-V", "--version", message="trimtab %(version)s")
@token_file_option
def root() -> None:
    """Git says what should run; Trimtab makes it so, keeps it so, and tells what became of each commit."""


def main() -> NoReturn:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], session: Session | None = None) -> int:
    """Carry out one command line and return the exit code. Prints; raises nothing but SystemExit for completion scripts."""
    session = session or Session()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _invoke(list(arguments), session)
        sys.stdout.flush()
        return code
    except click.UsageError as error:
        error.show()
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. What is still buffered must not be flushed into the closed pipe at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        session.out.failure(error)
        return FAILED


def _invoke(arguments: list[str], session: Session) -> int:
    # click's own main() would turn a closed pipe into exit code 1; it is left to completion, which ends the process itself.
    if COMPLETION_VARIABLE in os.environ:
        root.main(arguments, prog_name="trimtab", obj=session)
    try:
        with root.make_context("trimtab", arguments, obj=session) as context:
            code = root.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return code if isinstance(code, int) else 0
