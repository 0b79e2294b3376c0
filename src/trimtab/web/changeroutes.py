"""The part of the table of `routes.py` that is about Changes and trails. Each is asked with who asks: what a right is about has to be found
first, so the engine checks it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from trimtab.core.model import changeviews as views
from trimtab.core.model.rights import Action, Principal
from trimtab.ports.people import Asker

from . import parameters as p
from .needs import of_change, of_trail, only_shown
from .table import API, Engine, Route

CHANGES = f"{API}/changes"
CHANGE = f"{CHANGES}/{{number}}"

_read = of_change("`read`", Action.READ)
_propose = of_change("`propose`", Action.PROPOSE)
_talk = of_change("`propose` or `review`", Action.REVIEW)
_own = of_change("being its author with `propose`, or `merge`,", Action.MERGE)


def _asker(engine: Engine, who: Principal) -> Asker:
    return Asker(who, engine.access)


def _list(e: Engine, q: p.Changes, who: Principal) -> Awaitable[Any]:
    return e.queries.changes(q.repository, q.stage, q.author, q.before, q.limit, _asker(e, who))


def _create(e: Engine, q: p.NewChange, who: Principal) -> Awaitable[Any]:
    return e.commands.create_change(q.repository, q.branch, q.target, q.title, q.description, q.draft, _asker(e, who))


def _comment(e: Engine, q: p.Say, who: Principal) -> Awaitable[Any]:
    return e.commands.comment(q.number, q.text, q.thread, q.file, q.line, q.environment, q.object, _asker(e, who))


def _approve(e: Engine, q: p.ApproveChange, who: Principal) -> Awaitable[Any]:
    return e.commands.approve_change(q.number, q.environment, q.hash, _asker(e, who))


def _edit(e: Engine, q: p.Edit, who: Principal) -> Awaitable[Any]:
    return e.commands.edit_change(q.number, q.title, q.description, q.draft, _asker(e, who))


CHANGE_ROUTES: tuple[Route, ...] = (
    Route("GET", CHANGES, p.Changes, views.ChangesView, only_shown, as_principal=_list),
    Route("POST", CHANGES, p.NewChange, views.ChangeView, _propose, as_principal=_create),
    Route(
        "GET",
        CHANGE,
        p.Change,
        views.ChangeView,
        _read,
        as_principal=lambda e, q, who: e.queries.change(q.number, _asker(e, who)),
    ),
    Route(
        "GET",
        f"{CHANGE}/plan",
        p.ChangePlan,
        views.ChangePlanView,
        _read,
        as_principal=lambda e, q, who: e.queries.change_plan(q.number, q.environment, q.since_approval, _asker(e, who)),
    ),
    Route(
        "GET",
        f"{CHANGE}/diff",
        p.ChangeDiff,
        views.ChangeDiffView,
        _read,
        as_principal=lambda e, q, who: e.queries.change_diff(q.number, q.patch_set, q.path, _asker(e, who)),
    ),
    Route(
        "GET",
        f"{CHANGE}/comments",
        p.Change,
        views.CommentsView,
        _read,
        as_principal=lambda e, q, who: e.queries.change_comments(q.number, _asker(e, who)),
    ),
    Route("POST", f"{CHANGE}/comments", p.Say, views.CommentsView, _talk, as_principal=_comment),
    Route(
        "POST",
        f"{CHANGE}/resolve",
        p.Resolve,
        views.CommentsView,
        _talk,
        as_principal=lambda e, q, who: e.commands.resolve_thread(q.number, q.thread, q.resolved, _asker(e, who)),
    ),
    Route(
        "POST",
        f"{CHANGE}/approve",
        p.ApproveChange,
        views.ChangeView,
        of_change("`review`", Action.REVIEW),
        as_principal=_approve,
    ),
    Route(
        "POST",
        f"{CHANGE}/unapprove",
        p.Unapprove,
        views.ChangeView,
        _read,
        as_principal=lambda e, q, who: e.commands.unapprove_change(q.number, q.environment, _asker(e, who)),
    ),
    Route(
        "POST",
        f"{CHANGE}/merge",
        p.Change,
        views.ChangeView,
        of_change("`merge`", Action.MERGE),
        as_principal=lambda e, q, who: e.commands.merge_change(q.number, _asker(e, who)),
    ),
    Route(
        "POST",
        f"{CHANGE}/unmerge",
        p.Change,
        views.ChangeView,
        of_change("having asked for the merge, or `merge`,", Action.MERGE),
        as_principal=lambda e, q, who: e.commands.unmerge_change(q.number, _asker(e, who)),
    ),
    Route(
        "POST",
        f"{CHANGE}/close",
        p.Close,
        views.ChangeView,
        _own,
        as_principal=lambda e, q, who: e.commands.close_change(q.number, q.reason, _asker(e, who)),
    ),
    Route(
        "POST",
        f"{CHANGE}/reopen",
        p.Change,
        views.ChangeView,
        _own,
        as_principal=lambda e, q, who: e.commands.reopen_change(q.number, _asker(e, who)),
    ),
    Route("POST", f"{CHANGE}/edit", p.Edit, views.ChangeView, _own, as_principal=_edit),
    Route(
        "GET",
        f"{API}/audit",
        p.Nothing,
        views.TrailsView,
        only_shown,
        as_principal=lambda e, q, who: e.queries.trails(_asker(e, who)),
    ),
    Route(
        "GET",
        f"{API}/audit/trail",
        p.Trail,
        views.TrailView,
        of_trail,
        as_principal=lambda e, q, who: e.queries.trail(q.name, q.after, q.limit, _asker(e, who)),
    ),
)
