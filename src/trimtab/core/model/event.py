"""An Event: an append-only fact on the record. The kinds stand here, each with its meaning, and nowhere else."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

KINDS: dict[str, str] = {
    "server.started": "The server serves.",
    "server.stopped": "The server ended cleanly.",
    "repository.created": "Somebody made a hosted repository.",
    "repository.deleted": "Somebody took a hosted repository out of service.",
    "repository.fetched": "A new Revision was seen at the head.",
    "repository.rewritten": "The branch was force-pushed: the Revision that ran is no longer an ancestor of the head.",
    "repository.failed": "The repository could not be fetched, or what was followed is gone; what runs stays.",
    "repository.recovered": "The repository answers again.",
    "configuration.failed": "A configuration document is wrong; what it declared before stays.",
    "configuration.recovered": "All configuration documents are right again.",
    "render.failed": "An Application could not be rendered; what runs stays.",
    "deployment.started": "A Deployment has steps to take and takes them.",
    "deployment.healthy": "Everything of a Deployment is applied and healthy.",
    "deployment.failed": "A Deployment failed, with the object and the reason.",
    "deployment.held": "A Deployment waits for somebody, with what lifts the Hold.",
    "deployment.superseded": "A later Revision took a Deployment's place.",
    "deployment.reverted": "A later Revision brought back what ran before a Deployment.",
    "step.applied": "One step was carried out.",
    "step.failed": "One step was not carried out, with the reason.",
    "hook.succeeded": "A hook of a Deployment was run and has succeeded.",
    "hook.failed": "A hook of a Deployment has failed, or was gone before anybody saw its end.",
    "drift.detected": "The target differs from what was applied although Git did not change.",
    "drift.healed": "Drift was overwritten.",
    "health.changed": "An Application's health changed.",
    "plan.cleared": "A plan was cleared by the merge of an approved Change.",
    "plan.approved": "Somebody approved a plan by its hash.",
    "application.suspended": "Somebody suspended an Application, with the reason and the end.",
    "application.resumed": "A suspended Application is reconciled again.",
    "application.removed": "An Application is no longer declared and nothing of it is left.",
    "reconcile.broken": "An error in Trimtab itself stopped one Application for a while; the others go on.",
    "repository.accepted": "Somebody accepted a rewritten history.",
    "change.opened": "Somebody proposed a Change.",
    "change.updated": "A new patch set of a Change was pushed.",
    "change.edited": "The title or the description of a Change was edited, or it was marked as a draft or as ready.",
    "change.commented": "Somebody commented on a Change.",
    "change.resolved": "Somebody resolved a thread of comments, or opened it again.",
    "change.approved": "Somebody approved the plan of a Change for an Environment, by its hash.",
    "change.unapproved": "Somebody took an approval back.",
    "change.approval-withdrawn": "An approval was undone, because the plan is another one now.",
    "change.emergency": "Somebody pushed to a protected branch past review, with the reason; a Change was opened for it.",
    "change.queued": "Somebody wants a Change merged as soon as nothing is missing.",
    "change.merged": "A Change was merged, or the target branch got it by another way.",
    "change.merge-failed": "A Change could not be merged, with the reason.",
    "change.closed": "Somebody closed a Change without merging it.",
    "change.reopened": "Somebody reopened a closed Change.",
    "token.created": "A token was made, for whom and by whom; never the token itself.",
    "token.revoked": "A token was revoked.",
    "token.refused": "A token was shown that has ended, or whose User is disabled or gone.",
    "login.refused": "Too many logins failed from one address; it has to wait.",
    "operator.acted": "The holder of the server's own token did what no Grant allows, while Git declares people.",
    "trust.kept": "A commit changes people, keys or rules of signatures and is not signed as the rules ask; those of before hold.",
    "inventory.rebuilt": "The Inventory was read back from the target after the store had been lost.",
}


class Event(msgspec.Struct, frozen=True):
    """One fact. ``id`` ascends without gaps being promised; 0 until the store has given it one. ``time`` is UTC."""

    kind: str
    time: datetime
    message: str
    application: str = ""
    environment: str = ""
    revision: str = ""
    data: dict[str, Any] = {}
    id: int = 0
