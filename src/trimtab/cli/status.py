"""`trimtab status [COMMIT]`: where is my commit, and is it well? In sentences, for each Application and Environment.

COMMIT is resolved in the repository of the current directory where it can be, because that is what the person sees; the server
resolves the rest. With `--wait healthy` the answer is awaited, and becomes the exit code.
"""

from __future__ import annotations

import subprocess
import time
from datetime import datetime, timedelta

import click

from trimtab.cli.output import BAD, COLOURS, FULL_ID, Out, short
from trimtab.cli.session import DIFFERENT, DONE, FAILED, Session, asks_server, current
from trimtab.cli.times import Duration, absolute, ago, length
from trimtab.core.model.deployment import Phase
from trimtab.core.model.text import one_line
from trimtab.core.model.views import DeploymentView, StatusView

LOOKS_SECONDS = (0.1, 1.0)
"""Between two looks while waiting: at first, and at most."""
LOCAL_GIT_SECONDS = 5.0


@click.command()
@click.argument("commit", required=False, default="")
@click.option("--wait", type=click.Choice(["healthy"]), help="Wait until the commit is healthy everywhere, or cannot become it.")
@click.option("--timeout", type=Duration(), default="5m", show_default=True, help="How long to wait, such as 60s, 5m or 1h.")
@asks_server
def status(commit: str, wait: str | None, timeout: timedelta) -> int:
    """Where is my commit, and is it well?

    COMMIT is an id, abbreviated or not, a branch, a tag, or HEAD; without it, what is newest is shown. The exit code is 0 when
    nothing failed or is held, 1 when something failed, 3 when something is held. With --wait it is 0 only when all is healthy,
    and also 1 when the time is over or another commit took the place of this one.

    \b
    Example:
      git push && trimtab status HEAD --wait healthy --timeout 60s
    """
    session = current()
    revision = resolved(commit)
    if wait is None:
        view = session.client.status(revision)
        session.out.show(view, lambda: tell(session.out, view, session.now()))
        return verdict(view)
    view, in_time = wait_for(session, revision, timeout)
    session.out.show(view, lambda: tell(session.out, view, session.now()))
    if not in_time:
        click.echo(f"trimtab: not healthy after {length(timeout)}.", err=True)
        return FAILED
    return verdict(view) or (DONE if all(one.phase is Phase.HEALTHY for one in asked_about(view)) else FAILED)


def resolved(commit: str) -> str:
    """The full id of ``commit`` in the repository of the current directory; ``commit`` itself where there is none."""
    if not commit or commit.startswith("-") or FULL_ID.fullmatch(commit):
        return commit
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", commit + "^{commit}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=LOCAL_GIT_SECONDS, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return commit
    return answer.stdout.strip() if answer.returncode == 0 else commit


def wait_for(session: Session, revision: str, timeout: timedelta) -> tuple[StatusView, bool]:
    """Look until nothing moves any more; False when the time was over before."""
    deadline = time.monotonic() + timeout.total_seconds()
    pause, longest = LOOKS_SECONDS
    while True:
        view = session.client.status(revision)
        if view.settled and view.seen is not None:
            return view, True
        left = deadline - time.monotonic()
        if left <= 0:
            return view, False
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, longest)


def asked_about(view: StatusView) -> list[DeploymentView]:
    """The Deployments that the commit changed; all of them when it changed none."""
    return [one for one in view.deployments if one.changed] or view.deployments


def verdict(view: StatusView) -> int:
    phases = {one.phase for one in asked_about(view)}
    if Phase.FAILED in phases or view.errors:
        return FAILED
    return DIFFERENT if Phase.HELD in phases else DONE


def tell(out: Out, view: StatusView, now: datetime) -> None:
    name = short(view.revision) or "The repository"
    if view.seen is None:
        out.line(f"{name} has not been seen at the head of a repository.")
        out.line(f"If it was pushed just now, wait for it: trimtab status {short(view.revision)} --wait healthy".rstrip())
    else:
        out.line(f"{name} was seen {ago(view.seen, now)}.")
    if view.errors:
        out.lines("", "What stands in Git is wrong; what runs stays as it is:")
        out.problems(view.errors)
    if not view.deployments and not view.errors and view.seen is not None:
        out.line("It declares no applications.")
    for deployment in view.deployments:
        out.line()
        tell_deployment(out, deployment, view.revision, now)


def tell_deployment(out: Out, deployment: DeploymentView, revision: str, now: datetime) -> None:
    """``shop in production: failed 3 minutes ago (…)`` and, below, what is wrong and what to do."""
    where = f"{deployment.application} in {deployment.environment}: "
    phase = deployment.phase.value
    out.parts(where, (phase, COLOURS.get(phase, "")), _since(deployment, now))
    if not deployment.changed and deployment.revision and deployment.revision != revision:
        out.line(f"    this commit changes nothing here; what runs is {short(deployment.revision)}")
    if deployment.phase in (Phase.PENDING, Phase.APPLYING, Phase.FAILED, Phase.HELD) or deployment.health != "healthy":
        _tell_trouble(out, deployment)
    if deployment.phase is Phase.HELD:
        out.line(f"    see: trimtab app explain {deployment.application} --environment {deployment.environment}")


def _since(deployment: DeploymentView, now: datetime) -> str:
    match deployment.phase:
        case Phase.FAILED:
            return f" {ago(deployment.since, now)}"
        case Phase.SUPERSEDED | Phase.REVERTED:
            by = f" by {short(deployment.superseded_by)}" if deployment.superseded_by else ""
            return f"{by} {ago(deployment.since, now)}"
        case Phase.PENDING | Phase.APPLYING | Phase.HEALTHY | Phase.HELD:
            return f" for {length(now - deployment.since)} (since {absolute(deployment.since)})"


def _tell_trouble(out: Out, deployment: DeploymentView) -> None:
    cause = ": ".join(part for part in (str(deployment.object or ""), one_line(deployment.message)) if part)
    if cause:
        out.line(f"    {cause}")
    elif deployment.health != "healthy":
        out.line(f"    its health is {deployment.health.value}")
    if deployment.last_log_line:
        out.parts("    last log line: ", (one_line(deployment.last_log_line), BAD if deployment.phase is Phase.FAILED else ""))
