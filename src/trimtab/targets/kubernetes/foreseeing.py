"""What the server would store for a Manifest: from memory where that is sure, else by a dry-run.

Sure is what is ours, was applied from this very Manifest, and of which our entry of ``managedFields`` still covers every field. What is
asked is remembered for as long as nobody writes to the object, so that what admission rewrites, or a field that is left to somebody else, costs
requests only when something moves. Once in a while everything is asked anew, because a check that cannot fail is none.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter, OrderedDict
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import msgspec

from trimtab.core.model.errors import Problem, TransientError
from trimtab.core.model.leaving import Leave, Left
from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.observed import Fixed, Observed, Owner
from trimtab.ports.clock import Clock

from . import adoption, fields, leaving, locating, refusals
from .autoscalers import Autoscalers
from .client import MANAGER, Client
from .cluster import Cluster, Outside
from .errors import ApiError, Forbidden, Invalid, NotFound
from .known import Known, describe, managed
from .leaving import Beside, Other
from .newcomers import FEW, Newcomers
from .objects import Object
from .ownership import CONFLICTS, WAYS, may_be_unknown, replaces, stamped, strange
from .refusals import problem
from .renamed import put_back, renamed
from .resources import Resource
from .shape import shaped

MOMENTS_MAX = 3
ANSWERS_MAX = 1_000
FIRST_OF_A_KIND = FEW + 1
"""So many of a kind are asked about before the others: one of them is what the others may follow."""
PROBE_CHARACTERS_MAX = 50
"""How much of a hook's name is kept where it is asked about under another one."""
ANSWER_SECONDS_MAX = 300.0
SERVED_SECONDS_MAX = 3.0
"""How long a server may take to go by a definition that it has accepted."""
FULL_CHECK_SECONDS = 3_600.0
"""How often an object is asked about although nothing has been seen to move; spread, so that they don't come together."""

_ALLOCATED = "is already allocated"
"""What the server says of a port that the object to be replaced has itself."""
_TYPED = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)
"""Groups of which every field has a schema."""

_Seen = tuple[str, str, str, tuple[str, ...]]
NOTHING = Leave()


class Foreseen(msgspec.Struct, frozen=True):
    """``there`` is what is stored, where that had to be asked (``asked``; None: nothing is). ``taken``: the server would take it.
    ``left`` is left to others, ``fixed`` what keeps it from being changed in place; ``others`` is who else has written what is there.
    """

    body: Body
    there: Observed | None = None
    asked: bool = True
    taken: bool = False
    left: tuple[Left, ...] = ()
    fixed: Fixed | None = None
    others: tuple[Other, ...] = ()


class Foresight:
    """For one Environment. ``places`` bounds the requests at once; ``client`` is who asks (None: Trimtab itself)."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        places: asyncio.Semaphore,
        autoscalers: Autoscalers,
        client: Client | None = None,
    ) -> None:
        self._cluster, self._clock, self._places, self._autoscalers = cluster, clock, places, autoscalers
        self._client = client or cluster.client
        self._verified: dict[Identity, tuple[_Seen, float]] = {}
        self._defined: dict[Identity, float] = {}
        self._hooks: OrderedDict[str, float] = OrderedDict()
        self._answers: OrderedDict[Identity, tuple[_Seen, str, float, Foreseen]] = OrderedDict()
        self.newcomers = Newcomers(cluster.client, clock, strange(cluster.installation, cluster.environment))

    def at_once(self, manifest: Manifest, leave: Leave, scaled: Beside, *, shown: bool) -> Foreseen | None:
        """As `foresee`, for what is as it was applied, or is new and alike to what the server has taken, so that nothing is waited
        for; else None.

        Nearly everything is, at nearly every look, and a task for each object of a large Application costs more than the look itself.
        """
        found = self._cluster.at_hand(manifest.ref)
        if found is None or CONFLICTS in manifest.annotations:
            return None
        resource, namespace, kind = found
        if not resource.namespaced and manifest.ref.namespace:
            return None
        known = kind.get(namespace, manifest.ref.name)
        if known is None:
            granted = not shown and self.newcomers.follows(manifest, resource, namespace)
            return Foreseen(manifest.body, asked=False) if granted else None
        if leaving.is_to_be_found(manifest.ref, known.others, scaled):
            return None
        left = leaving.left(manifest, known.others, leave, scaled)
        wanted, gone = leaving.cut(manifest, (*leave.pointers, *(one.pointer for one in left)), known.others)
        return Foreseen(unchanged(known), asked=False, left=left) if self._unchanged(known, wanted, resource, gone) else None

    async def foresee(
        self,
        manifest: Manifest,
        beside: Sequence[Manifest],
        leave: Leave = NOTHING,
        scaled: Beside = frozenset(),
        *,
        shown: bool,
    ) -> Foreseen | list[Problem]:
        """``beside`` are all Manifests of the same preview: what they make need not be there yet. ``leave`` is what rules leave of it to
        others, ``scaled`` what the autoscalers in Git scale. ``shown``: a person will look at it, so everything that is new or changed is
        asked about. Raises TransientError.
        """
        resource = await self._cluster.resource(manifest.ref)
        if resource is None:
            expected = locating.definition(beside, manifest.ref) is not None or may_be_unknown(manifest.annotations)
            return Foreseen(manifest.body, asked=False) if expected else [_unknown_kind(manifest)]
        if not resource.namespaced and manifest.ref.namespace:
            message = "objects of this kind have no namespace"
            return [problem(manifest, "metadata.namespace", message, "Remove metadata.namespace")]
        if manifest.annotations.get(CONFLICTS, WAYS[0]) not in WAYS:
            message = f"{CONFLICTS} is neither {' nor '.join(WAYS)}"
            return [problem(manifest, "metadata.annotations", message, "Write one of the two, or remove it")]
        try:
            namespace = self._cluster.place(resource, manifest.ref)
            known = (await self._cluster.kind(resource, namespace)).get(namespace, manifest.ref.name)
            if known is None:
                asking = self._ask(manifest, resource, beside)
                new = await asking if shown else await self._follow(manifest, resource, asking)
                return await self._of_another(manifest, resource, beside, new, (leave, scaled))
            left = await self._left(manifest, namespace, known.others, leave, scaled)
            wanted, gone = leaving.cut(manifest, (*leave.pointers, *(one.pointer for one in left)), known.others)
            if self._unchanged(known, wanted, resource, gone):
                return Foreseen(unchanged(known), asked=False, left=left)
            found = self._answered(known, wanted, gone) or await self._ask(wanted, resource, beside, known, gone)
            return msgspec.structs.replace(found, left=left) if isinstance(found, Foreseen) else found
        except Outside as error:
            return [problem(manifest, error.field, error.words, error.remedy)]
        except (Invalid, Forbidden) as error:
            return refusals.problems(manifest, error)

    async def _of_another(
        self,
        manifest: Manifest,
        resource: Resource,
        beside: Sequence[Manifest],
        found: Foreseen | list[Problem],
        rules: tuple[Leave, Beside],
    ) -> Foreseen | list[Problem]:
        """What another Environment of ours has, no watch of this one shows: what is left of it to others is so here as well."""
        there = found.there if isinstance(found, Foreseen) else None
        if not isinstance(found, Foreseen) or there is None or there.owner is None:
            return found
        if there.owner.installation != self._cluster.installation:
            return found
        leave, scaled = rules
        namespace = self._cluster.place(resource, manifest.ref)
        left = await self._left(manifest, namespace, found.others, leave, scaled)
        wanted, gone = leaving.cut(manifest, (*leave.pointers, *(one.pointer for one in left)), found.others)
        again = await self._ask(wanted, resource, beside) if gone else found
        return msgspec.structs.replace(again, left=left) if isinstance(again, Foreseen) else again

    async def _left(
        self, manifest: Manifest, namespace: str, others: Sequence[Other], leave: Leave, scaled: Beside
    ) -> tuple[Left, ...]:
        """What is left of it to others. Whatever has scaled it, and is not there any more, is left nothing."""
        ref = manifest.ref
        asks = leaving.is_to_be_found(ref, others, scaled)
        gone = asks and not await self._autoscalers.scales(namespace, ref.kind, ref.name)
        return leaving.left(manifest, others, leave, scaled, gone=gone)

    async def _follow(
        self, manifest: Manifest, resource: Resource, asking: Coroutine[Any, Any, Foreseen | list[Problem]]
    ) -> Foreseen | list[Problem]:
        answer: Foreseen | list[Problem] = Foreseen(manifest.body, asked=False)

        async def ask() -> bool:
            nonlocal answer
            answer = await asking
            return isinstance(answer, Foreseen) and answer.taken

        try:
            await self.newcomers.follow(manifest, resource, self._cluster.place(resource, manifest.ref), ask)
        finally:
            asking.close()
        return answer

    async def could_run(self, manifest: Manifest, beside: Sequence[Manifest]) -> list[Problem]:
        """What the server would refuse of a hook, whatever is there under its name: that will be gone. Raises TransientError."""
        due = self._hooks.get(manifest.digest, 0.0)
        if due > self._clock.monotonic():
            return []
        name = f"{manifest.ref.name[:PROBE_CHARACTERS_MAX]}-preview"
        body = {**manifest.body, "metadata": {**manifest.body["metadata"], "name": name}}
        probe = msgspec.structs.replace(manifest, ref=msgspec.structs.replace(manifest.ref, name=name), body=body)
        answer = await self.foresee(probe, beside, shown=True)
        if not isinstance(answer, Foreseen):
            return [msgspec.structs.replace(one, message=one.message.replace(name, manifest.ref.name)) for one in answer]
        if answer.asked:
            self._hooks[manifest.digest] = self._clock.monotonic() + ANSWER_SECONDS_MAX
            while len(self._hooks) > ANSWERS_MAX:
                self._hooks.popitem(last=False)
        return []

    async def _not_twice(self, manifest: Manifest, beside: Sequence[Manifest]) -> list[Problem]:
        """What keeps it from being made a second time: nothing is removed that could not be made anew."""
        return [one for one in await self.could_run(manifest, beside) if _ALLOCATED not in one.message]

    def applied(self, manifest: Manifest, known: Known, resource: Resource, gone: tuple[str, ...] = ()) -> None:
        """``known`` is what came of applying ``manifest``, out of which ``gone`` was cut."""
        if (manifest.ref.group, manifest.ref.kind) == locating.DEFINITION:
            self._defined[manifest.identity] = self._clock.monotonic() + SERVED_SECONDS_MAX
        # Where nobody but us has written, our entry is what the server took from the apply, whole.
        alone = bool(known.managed) and not known.others
        if known.owner is not None and (alone or fields.covers(known.managed, self.body(manifest, resource, known.owner))):
            self._verify(manifest.identity, known, gone)

    def body(self, manifest: Manifest, resource: Resource, owner: Owner, *, uid: str = "", new: bool = False) -> Body:
        """What to apply, to the object with ``uid``, or to none when it has to be ``new``."""
        placed = resource.namespaced and not manifest.ref.namespace
        namespace = self._cluster.place(resource, manifest.ref)
        return stamped(manifest, owner, namespace=namespace, placed=placed, uid=uid, new=new)

    def _unchanged(self, known: Known, manifest: Manifest, resource: Resource, gone: tuple[str, ...]) -> bool:
        owner = known.owner
        if owner is None or known.deleting or known.digest != manifest.digest or owner.installation != self._cluster.installation:
            return False
        seen, due = self._verified.get(manifest.identity, (None, 0.0))
        if seen == _seen(known, gone):
            return due > self._clock.monotonic()
        whole = resource.group in _TYPED
        if not fields.covers(known.managed, self.body(manifest, resource, owner), whole=whole):
            return False
        self._verify(manifest.identity, known, gone)
        return True

    def _verify(self, identity: Identity, known: Known, gone: tuple[str, ...]) -> None:
        spread = 0.5 + zlib.crc32(known.uid.encode()) / 2**32
        self._verified[identity] = (_seen(known, gone), self._clock.monotonic() + FULL_CHECK_SECONDS * spread)

    def _answered(self, known: Known, manifest: Manifest, gone: tuple[str, ...]) -> Foreseen | None:
        seen, digest, due, answer = self._answers.get(manifest.identity, (None, "", 0.0, None))
        same = seen == (known.uid, known.edition, known.fingerprint, gone) and digest == manifest.digest
        if answer is None or not same or due <= self._clock.monotonic():
            return None
        if answer.there is None:
            return answer
        status = observed(known, manifest.ref).status  # which goes on while nobody writes the rest
        return msgspec.structs.replace(answer, there=msgspec.structs.replace(answer.there, status=status))

    async def _ask(
        self,
        manifest: Manifest,
        resource: Resource,
        beside: Sequence[Manifest],
        known: Known | None = None,
        gone: tuple[str, ...] = (),
    ) -> Foreseen | list[Problem]:
        namespace, name = self._cluster.place(resource, manifest.ref), manifest.ref.name
        fixed, redefined = None, False
        try:
            foreseen, there, entry = await self._both(manifest, resource, namespace, name)
        except Invalid as error:
            redefined = not error.fixed and await self._redefined(manifest, beside)
            if not error.fixed and not redefined:
                raise
            fixed, entry = Fixed(error.fixed, replaces(manifest.annotations)) if error.fixed else None, b""
            owner = Owner(self._cluster.installation, self._cluster.environment, "preview")
            wanted = shaped(self.body(manifest, resource, owner))
            async with self._places:
                there = await self.there(resource, namespace, name)
            if fixed is not None and fixed.replaces and (wrong := await self._not_twice(manifest, beside)):
                return wrong
            foreseen = _over(shaped(there.body()) if there is not None else {}, wanted)
        except NotFound as error:
            if error.kind != "namespaces" or _makes_namespace(beside, namespace):
                return Foreseen(manifest.body)
            remedy = "Create it in Git, or name another"
            return [refusals.awaited(manifest, "metadata.namespace", f"there is no namespace {namespace}", remedy)]
        if there is None:
            return Foreseen(foreseen, taken=bool(entry))
        observed = looked(there, manifest.ref, self._cluster.namespace)
        answer = Foreseen(foreseen, observed, fixed=fixed, others=describe(there, self._cluster.namespace).others)
        if known is not None and not redefined and known.version == describe(there, self._cluster.namespace).version:
            self._keep(manifest, known, answer, gone)
            if answer.body == observed.body and fields.tree(entry) == fields.tree(known.managed):
                self._verify(manifest.identity, known, gone)
        return answer

    async def _redefined(self, manifest: Manifest, beside: Sequence[Manifest]) -> bool:
        """Whether the definition of its kind changes before it, so that what the server says of it now is not the last word. Raises
        TransientError when it has changed just now: the server takes a moment to go by it.
        """
        defining = locating.defining(beside, manifest.ref)
        if defining is None or self._cluster.settings.namespaces:
            return False
        if self._defined.get(defining.identity, 0.0) > self._clock.monotonic():
            raise TransientError(f"preview {manifest.ref}: its definition has just changed; it is asked about again in a moment")
        resource = await self._cluster.resource(defining.ref)
        known = (await self._cluster.kind(resource, "")).get("", defining.ref.name) if resource is not None else None
        return known is None or known.digest != defining.digest

    async def _both(self, manifest: Manifest, resource: Resource, namespace: str, name: str) -> tuple[Body, Object | None, bytes]:
        """As `_dry_run`, of one moment: what a controller writes between the two requests is no difference."""
        for _ in range(MOMENTS_MAX):
            foreseen, there, answer = await self._dry_run(manifest, resource, namespace, name)
            if there is None or answer is None or answer.resource_version == there.resource_version:
                break
        return foreseen, there, managed(answer) if answer is not None else b""

    async def _dry_run(
        self, manifest: Manifest, resource: Resource, namespace: str, name: str
    ) -> tuple[Body, Object | None, Object | None]:
        """What would be stored, what is, and the whole answer where there was one. Raises ApiError."""
        client = self._client
        # A dry-run is the same whoever asks; the true owner is written by the apply.
        owner = Owner(self._cluster.installation, self._cluster.environment, "preview")
        wanted = self.body(manifest, resource, owner)
        async with self._places:
            try:
                answer = await client.apply(resource, namespace, name, wanted, force=True, dry_run=True)
            except Invalid as error:
                if error.fixed:
                    raise
                undryable = refusals.NO_DRY_RUN in error.message
                there = await self.there(resource, namespace, name)
                if not undryable:
                    healed = self._healed(wanted, there)
                    if healed is None:
                        raise
                    return healed, there, None
                return _over(shaped(there.body()) if there is not None else {}, shaped(wanted)), there, None
            there = await self.there(resource, namespace, name) if answer.resource_version else None
        body = shaped(answer.body())
        if there is not None and not _ours(there, self._cluster.namespace):
            going = adoption.after(body, answer.managers(), MANAGER)
            body = body if going == body else await self._defaulted(manifest, resource, namespace, going, body)
        return body, there, answer

    async def _defaulted(self, manifest: Manifest, resource: Resource, namespace: str, going: Body, before: Body) -> Body:
        """``going`` with what the server puts where the fields of installers go, as it would for a new object of this manifest."""
        name = f"{manifest.ref.name[:PROBE_CHARACTERS_MAX]}-preview"
        owner = Owner(self._cluster.installation, self._cluster.environment, "preview")
        wanted = self.body(manifest, resource, owner, new=True)
        probe = {**wanted, "metadata": {**wanted["metadata"], "name": name}}
        try:
            async with self._places:
                answer = await self._client.apply(resource, namespace, name, probe, force=True, dry_run=True)
        except ApiError:
            return going  # it could not be made twice; then its defaults are not told
        fresh = shaped(answer.body())
        return {**adoption.defaulted(going, fresh, before), "metadata": going["metadata"]}

    def _healed(self, wanted: Body, there: Object | None) -> Body | None:
        """What becomes of an object of ours of which somebody has edited the keys of elements; None when it is not that."""
        if there is None or not _ours(there, self._cluster.namespace):
            return None
        body = there.body()
        edited = renamed(wanted, body, there.managers(), MANAGER)
        return put_back(shaped(body), edited) if edited else None

    async def there(self, resource: Resource, namespace: str, name: str) -> Object | None:
        try:
            return await self._client.get(resource, namespace, name)
        except NotFound:
            return None

    def _keep(self, manifest: Manifest, known: Known, answer: Foreseen, gone: tuple[str, ...]) -> None:
        same = answer.there is not None and answer.body == answer.there.body
        if same:  # then there is nothing to tell, as long as nobody writes
            answer = Foreseen(unchanged(known), asked=False)
        seconds = FULL_CHECK_SECONDS if same else ANSWER_SECONDS_MAX
        seen = (known.uid, known.edition, known.fingerprint, gone)
        self._answers[manifest.identity] = (seen, manifest.digest, self._clock.monotonic() + seconds, answer)
        self._answers.move_to_end(manifest.identity)
        while len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)


def first_of_each_kind(manifests: Iterable[Manifest], most: int) -> list[Manifest]:
    """Of each kind so many, in order."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for one in manifests:
        kind = (one.ref.group, one.ref.kind)
        seen[kind] += 1
        if seen[kind] <= most:
            found.append(one)
    return found


def unchanged(known: Known) -> Body:
    """What stands for the body of something that is as it was applied, on both sides of the comparison: only what it says about its removal."""
    return {"metadata": {"annotations": dict(known.kept)}} if known.kept else {}


def observed(known: Known, ref: ObjectRef) -> Observed:
    return Observed(ref, known.uid, unchanged(known), known.owner, known.digest, {"health": msgspec.to_builtins(known.health)})


def looked(found: Object, ref: ObjectRef, home: str) -> Observed:
    """Of an object that was read just now, with its body."""
    known = describe(found, home)
    return msgspec.structs.replace(observed(known, ref), body=shaped(found.body()))


def _seen(known: Known, gone: tuple[str, ...]) -> _Seen:
    return known.uid, known.digest, known.fingerprint, gone


def _ours(found: Object, home: str) -> bool:
    return describe(found, home).owner is not None


def _over(below: Any, above: Any) -> Any:
    """``above`` laid over ``below``, where the server cannot be asked what it would make of it."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{name: _over(below.get(name), value) for name, value in above.items()}}


def _makes_namespace(beside: Sequence[Manifest], namespace: str) -> bool:
    return any(manifest.ref.kind == "Namespace" and manifest.ref.name == namespace for manifest in beside)


def _unknown_kind(manifest: Manifest) -> Problem:
    what = f"the server does not serve {manifest.ref.kind} of {manifest.ref.api_version}"
    remedy = "Correct apiVersion and kind, or put the definition of the kind into the same application"
    return refusals.awaited(manifest, "kind", what, remedy)
