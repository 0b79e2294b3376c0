"""The laws of a roll-out, on a simulated host where instances get ready, fail and end as chance has it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.host.rollout import Acts, Instance, Wanted, decide


def one(name: str, digest: str = "new", **fields: object) -> Instance:
    return Instance(id=name, digest=digest, since=float(sum(map(ord, name))), **fields)  # type: ignore[arg-type]


def test_nothing_there_is_started() -> None:
    """A Process of three replicas starts three instances."""
    assert decide(Wanted("new", 3), [], 0.0).start == 3


def test_a_release_that_never_gets_ready_leaves_the_old_one_serving() -> None:
    """While the new instance is not ready, the old one keeps the front and is not stopped."""
    old = one("a", "old", ready=True, published=True)
    assert decide(Wanted("new", 1), [old], 0.0) == Acts(start=1)
    assert decide(Wanted("new", 1), [old, one("b")], 0.0) == Acts()


def test_the_front_switches_before_the_old_one_is_stopped() -> None:
    """Ready, then published, then the old one drained, then stopped."""
    old, new = one("a", "old", ready=True, published=True), one("b", ready=True)
    assert decide(Wanted("new", 1), [old, new], 0.0) == Acts(publish=("b",))
    new = one("b", ready=True, published=True)
    busy = one("a", "old", ready=True, withdrawn=1.0, connections=2)
    assert decide(Wanted("new", 1, drain_seconds=5.0), [busy, new], 2.0) == Acts(due=6.0)
    assert decide(Wanted("new", 1, drain_seconds=5.0), [busy, new], 6.0) == Acts(stop=("a",))
    idle = one("a", "old", ready=True, withdrawn=1.0)
    assert decide(Wanted("new", 1), [idle, new], 2.0) == Acts(stop=("a",))


def test_a_third_release_does_not_wait_for_the_second() -> None:
    """An instance of a release in between that never got ready goes at once."""
    serving, stuck = one("a", "old", ready=True, published=True), one("b", "bad")
    assert decide(Wanted("new", 1), [serving, stuck], 0.0).stop == ("b",)
    stopping = one("b", "bad", stopping=True)
    assert decide(Wanted("new", 1), [serving, stopping], 0.0).start == 1


def test_recreate_stops_the_old_ones_first() -> None:
    """Two incarnations never live together; the new one starts when the old one has gone."""
    wanted = Wanted("new", 1, recreate=True, fronted=False)
    assert decide(wanted, [one("a", "old", ready=True)], 0.0) == Acts(stop=("a",))
    assert decide(wanted, [one("a", "old", stopping=True)], 0.0) == Acts()
    assert decide(wanted, [one("a", "old", stopping=True, lives=False)], 0.0).forget == ("a",)
    assert decide(wanted, [], 0.0) == Acts(start=1)


def test_recreate_withdraws_from_the_front_first() -> None:
    """Connections are held at the front while the only instance is replaced."""
    wanted = Wanted("new", 1, recreate=True)
    assert decide(wanted, [one("a", "old", ready=True, published=True)], 0.0) == Acts(publish=())
    assert decide(wanted, [one("a", "old", ready=True, withdrawn=0.0)], 0.0) == Acts(stop=("a",))


def test_an_orphan_is_replaced_like_an_old_release() -> None:
    """What nobody supervises serves until a supervised instance is ready."""
    orphan = one("a", ready=True, published=True, supervised=False)
    assert decide(Wanted("new", 1), [orphan], 0.0) == Acts(start=1)
    assert decide(Wanted("new", 1), [orphan, one("b", ready=True)], 0.0).publish == ("b",)


def test_nobody_is_stopped_for_not_having_been_asked_yet() -> None:
    """Just after the server has started, an old instance whose readiness is not known stays."""
    assert decide(Wanted("new", 1), [one("a", "old", unsure=True, published=True)], 0.0).stop == ()


def test_the_front_keeps_what_it_has_while_nothing_is_ready() -> None:
    """A restart takes milliseconds: connections wait at the front for the instance that they know."""
    assert decide(Wanted("new", 1), [one("a", published=True)], 0.0).publish is None


def test_no_replicas_means_nothing() -> None:
    """Scaling to zero withdraws and stops everything."""
    assert decide(Wanted("new", 0), [one("a", ready=True, published=True)], 0.0) == Acts(publish=())
    assert decide(Wanted("new", 0), [one("a", ready=True, withdrawn=0.0)], 0.0) == Acts(stop=("a",))
    assert decide(Wanted("new", 0), [], 0.0) == Acts()


@dataclass
class Simulated:
    digest: str
    since: float
    ready: bool = False
    published: bool = False
    withdrawn: float | None = None
    connections: int = 0
    stopping: bool = False
    lives: bool = True
    supervised: bool = True


@dataclass
class Sim:
    """A host that does what it is told. ``good`` tells which digests ever get ready."""

    wanted: Wanted
    good: dict[str, bool] = field(default_factory=dict)
    there: dict[str, Simulated] = field(default_factory=dict)
    now: float = 0.0
    made: int = 0

    def seen(self) -> list[Instance]:
        return [
            Instance(
                id=name, digest=each.digest, since=each.since, lives=each.lives, ready=each.ready, supervised=each.supervised,
                published=each.published, withdrawn=each.withdrawn, connections=each.connections, stopping=each.stopping,
            )
            for name, each in self.there.items()
        ]  # fmt: skip

    def act(self) -> Acts:
        acts = decide(self.wanted, self.seen(), self.now)
        self.check(acts)
        if acts.publish is not None:
            for name, each in self.there.items():
                if each.published and name not in acts.publish:
                    each.withdrawn = self.now
                each.published = name in acts.publish
        for name in acts.stop:
            self.there[name].stopping, self.there[name].ready = True, False
        for name in acts.forget:
            assert not self.there[name].lives
            del self.there[name]
        for _ in range(acts.start):
            self.made += 1
            self.there[f"i{self.made}"] = Simulated(self.wanted.digest, self.now)
        return acts

    def check(self, acts: Acts) -> None:
        wanted, active = self.wanted, [each for each in self.there.values() if not each.stopping and each.lives]
        ready = sum(each.ready for each in active)
        stopped_ready = sum(self.there[name].ready for name in acts.stop)
        if not wanted.recreate:
            assert ready - stopped_ready >= min(wanted.replicas, ready), "a ready instance is stopped without another"
            if acts.publish is not None and wanted.replicas > 0:
                assert len(acts.publish) >= min(ready, wanted.replicas), "the front loses a backend that is needed"
        if acts.start:
            assert len(active) - len(acts.stop) + acts.start <= max(2 * wanted.replicas, 0), "too many live"
            if wanted.recreate:
                assert all(each.digest == wanted.digest for each in self.there.values() if each.lives), (
                    "two incarnations live together"
                )
        for name in acts.stop:
            each = self.there[name]
            drained = each.connections == 0 or each.withdrawn is None or self.now >= each.withdrawn + wanted.drain_seconds
            assert not each.ready or not wanted.fronted or (not each.published and drained), "stopped while it serves"


moves = st.lists(
    st.tuples(st.sampled_from(["ready", "unready", "exit", "gone", "release", "scale", "orphan", "connect", "done", "tick"]), st.integers(0, 9)),
    max_size=40,
)  # fmt: skip


@given(
    replicas=st.integers(1, 4),
    recreate=st.booleans(),
    fronted=st.booleans(),
    script=moves,
    bad=st.sets(st.integers(0, 9), max_size=3),
)
def test_laws_hold_on_every_walk(
    replicas: int, recreate: bool, fronted: bool, script: list[tuple[str, int]], bad: set[int]
) -> None:
    """Whatever happens in between: no law is broken, and once it is quiet exactly the wanted instances are left."""
    sim = Sim(Wanted("r0", replicas, recreate, fronted, drain_seconds=3.0))
    for move, number in script:
        befall(sim, move, number, bad)
        sim.act()
    sim.wanted = Wanted("final", sim.wanted.replicas, recreate, fronted, drain_seconds=3.0)
    for _ in range(60):
        for each in sim.there.values():
            each.ready = each.ready or (not each.stopping and each.digest == "final")
            each.lives = each.lives and not each.stopping
        sim.now += 1.0
        sim.act()
    assert sim.act() == Acts(), "it comes to rest"
    assert [(each.digest, each.ready, each.supervised) for each in sim.there.values()] == [
        ("final", True, True)
    ] * sim.wanted.replicas
    assert not fronted or all(each.published for each in sim.there.values())


def befall(sim: Sim, move: str, number: int, bad: set[int]) -> None:
    names = sorted(sim.there)
    each = sim.there[names[number % len(names)]] if names else None
    match move:
        case "release":
            sim.wanted = Wanted(f"r{number}", sim.wanted.replicas, sim.wanted.recreate, sim.wanted.fronted, 3.0)
        case "scale":
            sim.wanted = Wanted(sim.wanted.digest, number % 5, sim.wanted.recreate, sim.wanted.fronted, 3.0)
        case "tick":
            sim.now += number / 2
        case _ if each is None:
            return
        case "ready":
            each.ready = not each.stopping and each.lives and int(each.digest[1:]) not in bad
        case "unready" | "exit":
            each.ready = False
        case "gone":
            each.lives = each.lives and not each.stopping
        case "orphan":
            for every in sim.there.values():
                every.supervised = False
        case "connect":
            each.connections += each.published
        case "done":
            each.connections = 0


def test_an_old_instance_that_stumbles_is_kept_while_nothing_else_serves() -> None:
    """The front still knows it; it goes when a new one is ready."""
    old = one("a", "old", published=True)
    assert decide(Wanted("new", 1), [old, one("b")], 0.0).stop == ()
    assert decide(Wanted("new", 1), [old, one("b", ready=True)], 0.0).stop == ("a",)
