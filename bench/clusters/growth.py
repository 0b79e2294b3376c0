"""How each cost grows with the number of applications: figures as JSON and a plot as SVG, into docs/reference/."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.clusters.contents import Body, contents
from bench.clusters.plot import Line, Panel, svg
from bench.clusters.runs import ROOT, Run

SIZES = (100, 500, 1_000, 2_000, 5_000)
TOUCHES = 10
FIGURES = ROOT / "docs" / "reference" / "growth.json"
PLOT = ROOT / "docs" / "reference" / "growth.svg"


def grow(run: Run, sizes: Sequence[int]) -> None:
    run.raw(contents(20, 0))  # the server's own first times
    found = []
    for size in sizes:
        found.append(measured(run, size))
        print(json.dumps(found[-1]), flush=True)
    write(found)


def measured(run: Run, size: int) -> Body:
    load = os.getloadavg()[0]
    wanted = contents(size, 0)
    raw = run.raw(wanted)
    one = run.trimtab(wanted, touches=TOUCHES, idle=1)
    return {
        "applications": size,
        "objects": size * 4,
        "load_before": round(load, 2),
        "raw_seconds": round(raw, 2),
        "install_seconds": round(one["install"], 2),
        "install_ratio": round(one["install"] / raw, 2),
        "install_calls": one["install_calls"],
        "install_cpu_seconds": round(one["install_cpu"], 2),
        "untouched_seconds": round(one["none"], 3),
        "untouched_cpu_seconds": round(one["none_cpu"], 3),
        "untouched_calls": one["none_calls"],
        "touched_p50_milliseconds": round(statistics.median(one["one"]) * 1e3, 1),
        "touched_most_milliseconds": round(max(one["one"]) * 1e3, 1),
        "touched_calls_most": max(one["one_calls"]),
        "resident_mib": round(one["resident"], 1),
        "idle_cpu_percent": round(one["idle"], 2),
    }


def write(found: Sequence[Body], figures: Path = FIGURES, plot: Path = PLOT) -> None:
    figures.write_text(json.dumps(list(found), indent=2) + "\n")

    def line(name: str, field: str) -> Line:
        return Line(name, [one[field] for one in found])

    panels = [
        Panel("First install, seconds", [line("Trimtab", "install_seconds"), line("raw loop", "raw_seconds")]),
        Panel("CPU of the install, seconds", [line("Trimtab", "install_cpu_seconds")]),
        Panel("Resident memory, MiB", [line("Trimtab", "resident_mib")]),
        Panel("A commit that touches none, seconds", [line("Trimtab", "untouched_seconds")], least=0.2),
        Panel("A commit that touches one, p50, ms", [line("Trimtab", "touched_p50_milliseconds")], least=200),
        Panel("Idle CPU, percent of a core", [line("Trimtab", "idle_cpu_percent")], least=2),
    ]
    plot.write_text(svg("Trimtab on Kubernetes: 4 objects in each application", [one["applications"] for one in found], panels))
