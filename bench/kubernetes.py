"""What Kubernetes costs: installs as ratios to a raw loop that sends the same applies over 16 kept-alive connections to the same API server,
and what a commit, an edit by hand and a change of health cost when nearly everything is as it should be.

    python bench/kubernetes.py [--applications 100] [--middle 500] [--maps 1000] [--large 1000] [--touches 50] [--drifts 20] [--healths 10] [--rounds 3]

"The same applies" are the same to the letter, with the labels and annotations that say whose an object is; the ratio to bare manifests
is printed as well. The control plane of the tests is used, a new one for the run; it is built when it is missing. Each round measures the raw loop before
and after Trimtab, with all objects in a namespace of its own; the median of the rounds counts. `--large 0` and `--middle 0` leave out a size.
Exit code 1 when a goal is missed. `--growth` measures 100 to 5,000 applications instead, and writes docs/reference/growth.json and growth.svg.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.clusters import growth
from bench.clusters.contents import Body, contents
from bench.clusters.runs import Run
from tests.kubernetes.cluster import Cluster


@dataclass(frozen=True)
class Row:
    what: str
    value: float
    goal: float
    unit: str = ""


def middle(rounds: list[Body], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def install_row(what: str, rounds: list[Body]) -> Row:
    return Row(f"{what}: first install / raw loop", statistics.median(one["install"] / one["raw"] for one in rounds), 1.5, "x")


def told_bare(what: str, run: Run, wanted: dict[str, list[Body]], rounds: list[Body]) -> None:
    """The same beside a loop that sends the manifests as they stand in Git, so that nobody could say whose the objects are."""
    bare = statistics.median(run.raw(wanted, bare=True) for _ in rounds)
    print(f"{what}: install/bare manifests {middle(rounds, 'install') / bare:.2f} ({bare:.2f} s)", flush=True)


def touch_rows(what: str, last: Body) -> list[Row]:
    return [
        Row(f"{what}: touch one, p50", statistics.median(last["one"]) * 1e3, 80, "ms"),
        Row(f"{what}: touch one, p99", percentile(last["one"], 0.99) * 1e3, 200, "ms"),
        Row(f"{what}: touch one, API calls (most)", max(last["one_calls"]), 6),
    ]


def measured_here(run: Run, options: argparse.Namespace) -> Iterator[Row]:
    what = f"{options.applications} x 4"
    wanted = contents(options.applications, 0)
    run.raw(contents(20, 0)), run.raw(contents(0, 50))  # the server's own first times
    rounds = run.rounds(wanted, options.rounds, touches=options.touches, drifts=options.drifts, healths=options.healths, idle=1)
    last = rounds[-1]
    told(what, rounds)
    told_bare(what, run, wanted, rounds)
    yield install_row(what, rounds)
    yield Row(f"{what}: install, CPU", middle(rounds, "install_cpu"), 1.5, "s")
    yield from none_rows(what, rounds, 0.1)
    yield Row(f"{what}: touch none, CPU", middle(rounds, "none_cpu"), 0.05, "s")
    yield from touch_rows(what, last)
    yield Row(f"{what}: drift -> healed, p50", statistics.median(last["drift"]) * 1e3, 100, "ms")
    yield Row(f"{what}: API shows healthy -> we say so, p50", statistics.median(last["health"]) * 1e3, 50, "ms")
    yield Row(f"{what}: resident memory", last["resident"], 110, "MiB")
    if options.middle:
        what = f"{options.middle} x 4"
        rounds = run.rounds(contents(options.middle, 0), 1)
        told(what, rounds)
        yield install_row(what, rounds)
    what = f"1 x {options.maps} ConfigMaps"
    wanted = contents(0, options.maps)
    rounds = run.rounds(wanted, options.rounds)
    told(what, rounds)
    told_bare(what, run, wanted, rounds)
    yield install_row(what, rounds)
    yield from none_rows(what, rounds, 0.1)
    yield Row(f"{what}: a look at all, unchanged", middle(rounds, "look"), 0.1, "s")
    yield Row(f"{what}: a look at all, API calls", max(one["look_calls"] for one in rounds), 0)
    if options.large:
        what = f"{options.large} x 4"
        rounds = run.rounds(contents(options.large, 0), 1, touches=options.touches, idle=1)
        told(what, rounds)
        yield install_row(what, rounds)
        yield from none_rows(what, rounds, 0.2)
        yield from touch_rows(what, rounds[-1])
        yield Row(f"{what}: resident memory", rounds[-1]["resident"], 200, "MiB")
    yield (
        Row(f"{what}: idle CPU", rounds[-1]["idle"], 2, "%")
        if options.large
        else Row(f"{options.applications} x 4: idle CPU", last["idle"], 2, "%")
    )


def none_rows(what: str, rounds: list[Body], goal: float) -> Iterator[Row]:
    yield Row(f"{what}: touch none", middle(rounds, "none"), goal, "s")
    yield Row(f"{what}: touch none, API calls", max(one["none_calls"] for one in rounds), 0)


def told(what: str, rounds: list[Body]) -> None:
    """The seconds behind the ratios."""
    each = ", ".join(f"{one['install']:.2f}/{one['raw']:.2f}" for one in rounds)
    calls = f"{middle(rounds, 'install_calls'):.0f} API calls, {middle(rounds, 'calls_until_quiet'):.0f} until quiet"
    print(f"{what}: install/raw {each} s; {calls}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (
        ("applications", 100),
        ("middle", 500),
        ("maps", 1_000),
        ("large", 1_000),
        ("touches", 50),
        ("drifts", 20),
    ):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--healths", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", nargs="?", const=",".join(map(str, growth.SIZES)), help="sizes, such as 100,500")
    options = parser.parse_args()
    cluster = Cluster("bench")
    well = []
    try:
        with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
            run = Run(cluster.up(), Path(name))
            print(f"load of the machine: {os.getloadavg()[0]:.1f}", flush=True)
            if options.growth:
                growth.grow(run, [int(size) for size in options.growth.split(",")])
            else:
                well = [shown(row) for row in measured_here(run, options)]
                print(f"load of the machine: {os.getloadavg()[0]:.1f}", flush=True)
    finally:
        cluster.close()
    return 0 if all(well) else 1


def shown(row: Row) -> bool:
    well = row.value <= row.goal
    print(f"{'ok  ' if well else 'MISS'} {row.what:55} {row.value:9.2f} {row.unit:4} goal <= {row.goal:g}", flush=True)
    return well


if __name__ == "__main__":
    raise SystemExit(main())
