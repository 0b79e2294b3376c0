"""`trimtab demo`: where it is made, what it says at the end, and that nothing of it is left behind unless somebody wants it."""

from __future__ import annotations

import contextlib
import shlex
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from trimtab.cli.demo.checks import PATIENCE_SECONDS, Checks, Untrue
from trimtab.cli.demo.screen import Screen
from trimtab.cli.demo.stage import Stage
from trimtab.cli.demo.story import Meddle, Story, nothing
from trimtab.cli.session import DONE, FAILED, current, output_option
from trimtab.core.model.views import DemoView

ENDING = (signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", is_flag=True, help="Leave everything running at the end, to play with.")
@output_option
def demo(directory: Path | None, keep: bool) -> int:
    """Show the whole loop on this machine, in under a minute: from a commit to healthy processes, kept so.

    It makes a sample repository and starts a server of its own, on free ports, in a temporary directory or in DIRECTORY, which must be
    new or empty. Everything that is shown really happens, and is checked; the exit code is 1 when something is not as it is told. At the
    end everything that it started is ended, and the temporary directory is removed. A DIRECTORY that was named stays.

    \b
    Example:
      trimtab demo --keep
    """
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise click.BadParameter(f"{directory} is not empty. Name a new directory, or none.", param_hint="DIRECTORY")
    session = current()
    view = play(directory, keep=keep, silent=session.out.json)
    if session.out.json:
        session.out.document(view)
    return DONE if view.ok else FAILED


def play(
    directory: Path | None = None,
    *,
    keep: bool = False,
    silent: bool = False,
    meddle: Meddle = nothing,
    patience_seconds: float = PATIENCE_SECONDS,
) -> DemoView:
    """Play the demo and clean up after it. Raises KeyboardInterrupt, after cleaning up, when it is told to end."""
    screen = Screen(silent=silent)
    checks = Checks(screen, patience_seconds=patience_seconds)
    named = directory is not None
    with _told_to_end():
        stage = Stage(directory.absolute() if directory else Path(tempfile.mkdtemp(prefix="trimtab-demo-")), screen)
        true, left = False, list[str]()
        try:
            true = _played(Story(stage, screen, checks, meddle), checks)
        except KeyboardInterrupt:
            screen.blank()
            screen.say("Interrupted. Everything that was started is ended now.")
            raise
        finally:
            if keep and true:
                stage.leave()
            else:
                left = _ended(stage, named=named)
    if left:
        checks.untrue(Untrue("everything that was started has ended", "; ".join(left)))
        screen.cross(checks.done[-1].claim, checks.done[-1].measured)
    elif keep and true:
        _try_it(screen, stage)
    else:
        _farewell(screen, stage, named=named, true=true)
    stays = named or (keep and true) or bool(left)
    return DemoView(true and not left, round(screen.seconds, 1), str(stage.directory) if stays else "", checks.done)


def _played(story: Story, checks: Checks) -> bool:
    screen = story.screen
    try:
        story.play()
    except Untrue as untrue:
        checks.untrue(untrue)
        screen.blank()
        screen.cross(f"NOT TRUE: {untrue.claim}", untrue.seen)
        screen.heading("The last lines of the server's log")
        screen.output(story.stage.log_tail(), lines_max=20)
        return False
    screen.heading(f"Shown and checked in {screen.seconds:.0f} s")
    for check in checks.summary():
        screen.tick(check.claim, check.measured)
    return True


def _ended(stage: Stage, *, named: bool) -> list[str]:
    """End everything, undisturbed. Returns what could not be ended."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *ENDING)}
    try:
        left = stage.close()
        # What could not be ended can be ended by hand, as long as its data directory is there.
        if not named and not left:
            stage.remove()
        return left
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _farewell(screen: Screen, stage: Stage, *, named: bool, true: bool) -> None:
    screen.blank()
    screen.say(f"Everything that ran has ended. {f'{stage.directory} stays.' if named else 'Its directory is removed.'}")
    if true:
        screen.say("To play with it: trimtab demo --keep, or KEEP=1 make demo.")


def _try_it(screen: Screen, stage: Stage) -> None:
    data = shlex.quote(str(stage.data))
    screen.heading("It goes on running. Try it yourself:")
    screen.pairs(
        [
            (f"cd {shlex.quote(str(stage.repository))}", "the clone of Ada"),
            (f"export TRIMTAB_DATA={data}", ""),
            (f"export GIT_CONFIG_GLOBAL={shlex.quote(str(stage.directory / '.gitconfig'))}", "git with her token"),
            (f"export BEN={stage.tokens.get('ben', '')}", "the token of Ben, who approves"),
            ("trimtab app show shop", "what runs, and how well"),
            ("git switch -c mine", "edit, then:"),
            ("git commit -am 'My change'", ""),
            ("git push -o change", "what would it do?"),
            ("TRIMTAB_TOKEN=$BEN trimtab change approve N", "N is the number of the change"),
            ("TRIMTAB_TOKEN=$BEN trimtab change merge N", "make it so"),
            ("git switch main && git pull", ""),
            ("trimtab status HEAD --wait healthy", "where is it?"),
            ("trimtab events --follow", "watch it happen"),
            ("trimtab down", "end all of it; then:"),
            (f"rm -rf {shlex.quote(str(stage.directory))}", ""),
        ]
    )


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
