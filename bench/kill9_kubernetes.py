"""`kill -9` of the server at random moments of installs, upgrades, prunes and moves on a real API server.

    python bench/kill9_kubernetes.py [--times 100] [--seed 1]

Each round commits a random change and kills the server a moment later, sometimes again while it starts. After each the cluster must equal
Git, object by object, as a list of our own tells; what stays must be the very same object; and what is not Trimtab's must be untouched, to its
resourceVersion. Prints a summary; the exit code is 1 when one of these is untrue.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.clusters.kills import Company, shoot
from tests.kubernetes.cluster import Cluster


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, help="how often the server is killed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cluster = Cluster("kills")
    try:
        with tempfile.TemporaryDirectory(prefix="trimtab-kill9-") as name:
            return run(Company(cluster.up(), Path(name), cluster.namespace("kills")), options.times, options.seed)
    finally:
        cluster.close()


def run(company: Company, times: int, seed: int) -> int:
    began = time.monotonic()
    try:
        shoot(company, times, random.Random(seed))
    except (AssertionError, RuntimeError) as error:
        company.wrong.append(str(error))
    finally:
        company.served.down()
    changes = ", ".join(f"{number} {verb}" for verb, number in sorted(company.changes.items()))
    print(f"killed {times} times in {time.monotonic() - began:.0f} s, seed {seed}: {changes}; "
          f"a change usually takes {company.usual_seconds:.2f} s")  # fmt: skip
    for line in company.wrong[:50]:
        print(f"WRONG {line}")
    print(
        "ok    the cluster equals Git and nobody else was touched"
        if not company.wrong
        else f"{len(company.wrong)} things are wrong"
    )
    return 1 if company.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
