"""What the reconcile lifecycle remembers of one Key between two events, and what may happen to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from trimtab.core.decide.hooks import Occasion, Seen
from trimtab.core.model.deployment import Deployment
from trimtab.core.model.event import Event
from trimtab.core.model.health import UNKNOWN, Health
from trimtab.core.model.hook import Ending, HookRun
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.plan import Outcome, Plan, Step


class Suspension(msgspec.Struct, frozen=True):
    """Nothing is changed while it lasts. ``until`` None: until somebody resumes."""

    reason: str
    who: str
    until: datetime | None = None


class Reconciliation(msgspec.Struct, frozen=True):
    """The state, stored whole with every step.

    ``current`` is what is being made and kept true, ``pending`` newer content of Git that waits for a gate or could not be
    rendered (then its phase is failed). ``behind`` is the sequence since which Git has wanted something
    else than ``current``, 0 while it does not. ``touched`` are the objects that ``current`` has changed so far. ``settled``: ``current``
    has been healthy, so a difference from now on is drift. ``retry_at``: no Step is taken before. ``attempt`` counts failures in a row; ``lasting``: the last of
    them is a refusal, which the next try meets again. ``undeclared``: Git no longer
    declares the Application here, and it ends when nothing of it is left. ``approved`` are hashes of plans, ``granted`` uids of objects
    whose removal or taking over such a plan covers. ``owned`` is how many objects there were when Git and the target last agreed, ``removed``
    those whose removal has begun since without an approval. ``runs`` is what became of the hooks of ``current``, ``tries`` how often
    somebody asked for another try of them; ``deployed``: some Deployment has been healthy. ``proven`` is the content of those before ``current``
    that were healthy, shortened, the newest last (`occasion.py`). ``progress_seconds`` is what ``deadline`` is made from.
    """

    current: Deployment | None = None
    pending: Deployment | None = None
    behind: int = 0
    previous_digest: str = ""
    health: Health = UNKNOWN
    sync: str = "unknown"
    touched: tuple[Identity, ...] = ()
    announced: bool = False
    settled: bool = False
    undeclared: bool = False
    deadline: datetime | None = None
    attempt: int = 0
    lasting: bool = False
    retry_at: datetime | None = None
    approved: frozenset[str] = frozenset()
    granted: frozenset[str] = frozenset()
    owned: int | None = None
    removed: frozenset[Identity] = frozenset()
    held: str = ""
    suspension: Suspension | None = None
    heals: int = 0
    heals_since: datetime | None = None
    runs: tuple[HookRun, ...] = ()
    tries: int = 0
    occasion: Occasion = ""
    deployed: bool = False
    proven: tuple[str, ...] = ()
    progress_seconds: float = 600


# --- what may happen --------------------------------------------------------------------------------------------------------


class Declared(msgspec.Struct, frozen=True):
    """Git has content for this Key at a Revision. ``digest`` is that of the Manifests; ``undeclared``: Git declares it no more.

    ``first`` since the process started: the content may have changed at any Revision after the one that is known.
    """

    revision: str
    sequence: int
    digest: str
    undeclared: bool = False
    first: bool = False


class Unrenderable(msgspec.Struct, frozen=True):
    """The content at a Revision cannot be rendered. ``first`` as in `Declared`."""

    revision: str
    sequence: int
    message: str
    first: bool = False


class Woken(msgspec.Struct, frozen=True):
    """Look. ``gates`` are the reasons why pending content may not start yet; ``progress_seconds`` the Application's deadline."""

    gates: tuple[str, ...] = ()
    progress_seconds: float = 600


class Looked(msgspec.Struct, frozen=True):
    """What was found: the Plan, and of each wanted object its health and wave. ``dropped`` are inventory entries of nothing,
    ``given_back`` those that turn out to be another application's, ``owned`` counts what is left, ``remains`` are
    objects of hooks beside it. ``hooks`` are those of this Deployment, which is the ``occasion``.
    ``lifted``: the plan is one that was approved, here or with the Change that it came by. ``ending`` are the hooks that this content has
    for the end of the Application.
    """

    plan: Plan
    health: Mapping[Identity, Health]
    waves: Mapping[Identity, int]
    dropped: tuple[ObjectRef, ...] = ()
    given_back: tuple[Entry, ...] = ()
    owned: int = 0
    remains: int = 0
    hooks: tuple[Seen, ...] = ()
    occasion: Occasion = "later"
    lifted: bool = False
    ending: Ending | None = None


class Took(msgspec.Struct, frozen=True):
    """The outcomes of the Steps, in their order."""

    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]


class Stumbled(msgspec.Struct, frozen=True):
    """Looking or acting failed as a whole: the target did not answer, or refuses the content (``object`` names which)."""

    message: str
    transient: bool = True
    object: ObjectRef | None = None


class Approved(msgspec.Struct, frozen=True):
    hash: str
    who: str


class Suspended(msgspec.Struct, frozen=True):
    suspension: Suspension


class Resumed(msgspec.Struct, frozen=True):
    who: str


class Requested(msgspec.Struct, frozen=True):
    """Somebody asked to try now, whatever the back-off says."""

    who: str = ""


Happening = Declared | Unrenderable | Woken | Looked | Took | Stumbled | Approved | Suspended | Resumed | Requested


# --- what follows -----------------------------------------------------------------------------------------------------------


class Look(msgspec.Struct, frozen=True):
    """Observe, preview, plan and assess ``current``."""


class Take(msgspec.Struct, frozen=True):
    """Carry these Steps out, many at once."""

    steps: tuple[Step, ...]


class Rest(msgspec.Struct, frozen=True):
    """Nothing to do until a wake, or until ``due``."""

    due: datetime | None = None


class Finish(msgspec.Struct, frozen=True):
    """The Application is gone from Git and from the target: forget this Key."""


Act = Look | Take | Rest | Finish


class Decision(msgspec.Struct, frozen=True):
    """The next state, what goes on the record with it in one atomic write, and what to do after that write. ``ending``: from now on these
    are the hooks that the Application ends with.
    """

    state: Reconciliation
    act: Act = Rest()
    events: tuple[Event, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    entries: tuple[Entry, ...] = ()
    dropped: tuple[ObjectRef, ...] = ()
    ending: Ending | None = None
