"""`trimtab status [COMMIT]`: where is my commit, and is it well? In sentences, for each Application and Environment.

COMMIT is resolved in the repository of the current directory where it can be, because that is what the person sees; the server
resolves the rest. With `--wait healthy` the answer is awaited, and becomes the exit code.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from trimtab.cli.output import BAD, COLOURS, FULL_ID, Out, short
from trimtab.cli.session import DIFFERENT, DONE, FAILED, Session, asks_server, current
from trimtab.cli.times import Duration, absolute, ago, length
from trimtab.core.model.deployment import Phase, moving
from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.text import one_line
from trimtab.core.model.views import DeploymentView, StatusView

ONE_WAIT_SECONDS = 60.0
"""How long one request waits."""
PAUSE_SECONDS = 0.2
"""Between two requests."""
WELL = (HealthStatus.HEALTHY, HealthStatus.SUSPENDED)
BROKEN = (HealthStatus.DEGRADED, HealthStatus.MISSING)
LOCAL_GIT_SECONDS = 5.0


@click.command()
@click.argument("commit", required=False, default="")
@click.option("--wait", type=click.Choice(["healthy"]), help="Wait until the commit is healthy everywhere, or cannot become it.")
@click.option("--timeout", type=Duration(), default="5m", show_default=True, help="How long to wait, such as 60s, 5m or 1h.")
@asks_server
def status(commit: str, wait: str | None, timeout: timedelta) -> int:
    """Where is my commit, and is it well?

    COMMIT is an id, abbreviated or not, a branch, a tag, or HEAD. What counts is what the commit changed; without COMMIT the newest
    commit is shown, and everything counts. The exit code is 0 when nothing failed or is held, 1 when something failed, 3 when
    something is held. With --wait it is 0 only when all is healthy, and also 1 when the time is over or another commit took the place
    of this one.

    \b
    Example:
      git push && trimtab status HEAD --wait healthy --timeout 60s
    """
    session = current()
    question = Question(resolved(commit))
    in_time = True
    if wait is None:
        view = session.client.status(question.commit)
    else:
        view, in_time = wait_for(session, question, timeout)
    session.out.show(view, lambda: tell(session.out, view, session.now()))
    if not in_time:
        click.echo(f"trimtab: not healthy after {length(timeout)}.", err=True)
        return FAILED
    return question.verdict(view) or (DONE if wait is None or question.well(view) else FAILED)


@dataclass(frozen=True)
class Question:
    """What was asked about: a commit, or with "" whatever is newest."""

    commit: str

    def about(self, view: StatusView) -> list[DeploymentView]:
        """The Deployments that count: those that the commit changed."""
        return [one for one in view.deployments if one.changed or not self.commit]

    def verdict(self, view: StatusView) -> int:
        about = self.about(view)
        phases = {one.phase for one in about}
        broken = any(one.phase is Phase.HEALTHY and one.health in BROKEN for one in about)
        if Phase.FAILED in phases or broken or view.errors:
            return FAILED
        return DIFFERENT if Phase.HELD in phases else DONE

    def well(self, view: StatusView) -> bool:
        return all(gone(one) or (one.phase is Phase.HEALTHY and one.health in WELL) for one in self.about(view))

    def answered(self, view: StatusView) -> bool:
        """True when nothing that counts is still moving."""
        return view.seen is not None and view.settled and not moving(one.phase for one in self.about(view))


def gone(deployment: DeploymentView) -> bool:
    """True for the end of an Application that Git no longer declares, with nothing of it left."""
    return deployment.phase is Phase.SUPERSEDED and not deployment.superseded_by


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


def wait_for(session: Session, question: Question, timeout: timedelta) -> tuple[StatusView, bool]:
    """Ask until nothing moves any more; False when the time was over before. The server does the waiting; a restart of it is waited
    out as well, once it has answered.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    view: StatusView | None = None
    while True:
        left = max(0.0, deadline - time.monotonic())
        try:
            view = session.client.wait_status(question.commit, "healthy", min(left, ONE_WAIT_SECONDS))
        except (TransientError, UserError):
            if view is None or left <= 0:
                raise
        else:
            if question.answered(view):
                return view, True
            if left <= 0:
                return view, False
        time.sleep(min(PAUSE_SECONDS, left))


def tell(out: Out, view: StatusView, now: datetime) -> None:
    name = short(view.revision) or "The repository"
    if view.seen is None:
        out.line(f"{name} has not been seen at the head of a repository.")
        if not view.errors:
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
    if gone(deployment):
        out.parts(where, ("removed", COLOURS.get("superseded", "")), f" {ago(deployment.since, now)}")
        out.line("    Git no longer declares it, and nothing of it is left")
        return
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
    cause, message = str(deployment.object or ""), one_line(deployment.message)
    if message:
        cause = message if not cause or message.startswith(cause) else f"{cause}: {message}"
    if cause:
        out.line(f"    {cause}")
    elif deployment.phase is Phase.HEALTHY:
        out.line(f"    its health is {deployment.health.value}")
    if deployment.last_log_line:
        out.parts("    last log line: ", (one_line(deployment.last_log_line), BAD if deployment.phase is Phase.FAILED else ""))
