"""What a question about rights costs at 1,000 Users, 50 Groups and 300 Grants, beside one in a world of three.

    python bench/rights.py

Goals: an answer in the big world takes at most 3 times one in the small world, and at most 25 µs (medians); a denial, which names who can, at
most 1 ms; resolving the whole directory at most 0.5 s. Exit code 1 when one is missed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from trimtab.core.decide.rights import Directory, directory, may
from trimtab.core.model.config import Configuration
from trimtab.core.model.kind import Metadata
from trimtab.core.model.people import Grant, GrantScope, GrantSpec, Group, GroupSpec, User
from trimtab.core.model.rights import Action, Allowed, Denied, Principal, Resource

RATIO_MAX, MICROSECONDS_MAX, DENIED_MICROSECONDS_MAX, RESOLVE_SECONDS_MAX = 3.0, 25.0, 1_000.0, 0.5
ROUNDS, CALLS = 15, 2_000


def world(users: int, groups: int, grants: int) -> Configuration:
    """Every Group has its share of the Users and, but for the first, the Group before it; a Grant is for one Group and one Environment."""
    names = [f"user-{number}" for number in range(users)]
    of = {f"group-{number}": names[number::groups] for number in range(groups)}
    nested = {f"group-{number}": [f"group-{number - 1}"] if number % 5 else [] for number in range(groups)}
    return Configuration(
        users={name: User(Metadata(name)) for name in names},
        groups={name: Group(Metadata(name), GroupSpec(users=members, groups=nested[name])) for name, members in of.items()},
        grants={
            f"grant-{number}": Grant(
                Metadata(f"grant-{number}"),
                GrantSpec(
                    "deployer",
                    groups=[f"group-{number % groups}"],
                    scope=GrantScope(environments=[f"place-{number}", f"p{number}-*"]),
                ),
            )
            for number in range(grants)
        },
    )


def microseconds(ask: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            ask()
        taken.append((time.perf_counter() - began) / CALLS * 1e6)
    return statistics.median(taken)


def allowed(people: Directory, number: int, groups: int) -> float:
    who, on = Principal(f"user-{number % groups}"), Resource(environment=f"place-{number}", application="shop")
    assert isinstance(may(who, Action.DEPLOY, on, people), Allowed)
    return microseconds(lambda: may(who, Action.DEPLOY, on, people))


def main() -> int:
    began = time.perf_counter()
    big = directory(world(1_000, 50, 300))
    resolve = time.perf_counter() - began
    small = allowed(directory(world(3, 1, 1)), 0, 1)
    large = allowed(big, 299, 50)
    who, on = Principal("user-0"), Resource(environment="nowhere")
    assert isinstance(may(who, Action.DEPLOY, on, big), Denied)
    denied = microseconds(lambda: may(who, Action.DEPLOY, on, big))
    rows = [
        ("allowed, 3 users", small, None),
        ("allowed, 1,000 users", large, MICROSECONDS_MAX),
        ("denied, with who can", denied, DENIED_MICROSECONDS_MAX),
        ("the directory resolved", resolve * 1e6, RESOLVE_SECONDS_MAX * 1e6),
    ]
    for name, found, goal in rows:
        print(f"{name:26} {found:12.1f} µs" + (f"   goal {goal:.0f}" if goal else ""))
    print(f"{'ratio of the two':26} {large / small:12.2f}      goal {RATIO_MAX:.0f}")
    return 0 if large / small <= RATIO_MAX and all(goal is None or found <= goal for _, found, goal in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
