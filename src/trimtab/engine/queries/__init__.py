"""What people may know, in the shapes of `core.model.views`. Reads only: memory for what is, the store for what was."""

from trimtab.engine.changes.answering import ChangeQueries
from trimtab.engine.hosted import HostedQueries

from .applications import ApplicationQueries
from .audit import AuditQueries
from .feeds import FeedQueries
from .places import PlaceQueries
from .status import StatusQueries


class Queries(StatusQueries, ApplicationQueries, PlaceQueries, FeedQueries, HostedQueries, ChangeQueries, AuditQueries):
    """Every question that the API and the command line ask."""


__all__ = ["Queries"]
