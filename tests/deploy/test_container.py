"""deploy/Containerfile without an engine for containers: it is read, what its build stage installs is installed, and its command runs as
the user that it names, on files that this user cannot write.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "deploy" / "Containerfile"
READY_SECONDS = 30.0
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first; what stands before the first FROM is left out."""
    text = re.sub(r"^#.*\n", "", RECIPE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        if name and found:
            found[-1].append(Instruction(name, rest.strip()))
    return found


BUILD, IMAGE = stages()


def texts(stage: list[Instruction], name: str) -> list[str]:
    return [one.text for one in stage if one.name == name]


def pinned(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


def test_no_registry_is_named_and_both_stages_stand_on_the_same_base() -> None:
    assert [stage[0].text for stage in (BUILD, IMAGE)] == ["${BASE} AS build", "${BASE}"]
    (base,) = re.findall(r"^ARG BASE=(\S+)$", RECIPE.read_text(encoding="utf-8"), re.MULTILINE)
    assert re.fullmatch(r"python:[\w.-]+", base)


def test_what_is_installed_is_locked_by_hash_and_nothing_is_built_by_the_image_that_runs() -> None:
    installs = [text for text in texts(BUILD, "RUN") if "pip install" in text]
    locked, ours = installs
    assert "--require-hashes --only-binary=:all: --requirement requirements/image.txt" in locked
    assert "--no-deps --no-build-isolation --no-index" in ours
    assert not any(word in text for text in texts(IMAGE, "RUN") for word in ("pip", "curl", "gcc"))


def test_the_lock_of_the_image_is_that_of_the_tests_and_has_all_extras() -> None:
    image, run, dev = pinned("image.txt"), pinned("run.txt"), pinned("dev.txt")
    assert run.items() <= image.items() <= dev.items()
    assert {"helm-python-sdk", "gojsonnet", "lupa"} <= image.keys() - run.keys()


def test_what_is_copied_is_there_and_the_builder_is_given_nothing_else() -> None:
    sources = {word for text in texts(BUILD, "COPY") for word in text.split()[:-1]}
    assert [source for source in sources if not (ROOT / source).exists()] == []
    admitted = re.findall(r"^!(\S+)$", (ROOT / "deploy" / "Containerfile.dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(admitted) == sources


def test_it_runs_as_a_user_that_is_no_superuser() -> None:
    (user,) = texts(IMAGE, "USER")
    assert int(user.partition(":")[0]) > 0
    assert any(f"useradd --uid {user.partition(':')[0]} " in text for text in texts(IMAGE, "RUN"))


@pytest.fixture
def place() -> Iterator[Path]:
    """Short and open to every user, as a socket's path is bounded and the command runs as another one."""
    found = Path(tempfile.mkdtemp(prefix="image-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


def installed(place: Path) -> Path:
    """What the build stage makes of the files that it copies, beside the packages that this environment has already."""
    source, target = place / "src", place / "opt"
    for text in texts(BUILD, "COPY"):
        *names, _ = text.split()
        for name in names:
            to = source / name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(ROOT / name, to) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, to)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", f"--target={target}"]
    command += ["--no-cache-dir", "--no-deps", "--no-build-isolation", "--no-index", "."]
    subprocess.run(command, cwd=source, check=True, env={**os.environ, "TMPDIR": str(place)})
    shutil.rmtree(source)
    for directory, _, files in os.walk(target):
        Path(directory).chmod(0o555)
        for file in files:
            path = Path(directory) / file
            path.chmod(path.stat().st_mode & 0o555)
    return target


def user() -> dict[str, object]:
    """The user of the recipe, where this one may become another and the other can read the packages of this environment."""
    number = int(texts(IMAGE, "USER")[0].partition(":")[0])
    as_other: dict[str, object] = {"user": number, "group": number, "extra_groups": []}
    try:
        command = [sys.executable, "-c", "import msgspec, aiohttp"]
        tried = subprocess.run(command, check=False, capture_output=True, cwd="/", **as_other)  # type: ignore[call-overload]
    except PermissionError:
        return {}
    return as_other if tried.returncode == 0 else {}


def without_capabilities() -> None:
    """As the manifests have it: none is left, and none can be got; so not even the superuser writes where the mode forbids it."""
    kernel = ctypes.CDLL(None)
    for number in range(64):
        kernel.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def test_the_command_runs_as_that_user_on_a_read_only_installation(place: Path) -> None:
    """With a data directory and a place for scratch alone, and no home: it serves, and probes get their answer."""
    target = installed(place)
    data, scratch = place / "data", place / "tmp"
    identity = user()
    for path in (data, scratch):
        path.mkdir()
        if identity:
            os.chown(path, int(str(identity["user"])), int(str(identity["group"])))
    words = [*json.loads(texts(IMAGE, "ENTRYPOINT")[0]), *json.loads(texts(IMAGE, "CMD")[0])]
    assert words[:2] == ["trimtab", "serve"]
    words[words.index("0.0.0.0:8080")] = "0.0.0.0:0"
    environment = {
        "PATH": f"{target}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(target),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(data / "home"),
        "TMPDIR": str(scratch),
        "TRIMTAB_DATA": str(data / "trimtab"),
    }
    with (place / "log").open("w") as log:
        server = subprocess.Popen(
            words,
            cwd="/",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=without_capabilities,
            **identity,
        )  # type: ignore[call-overload]
    with server:
        try:
            url = ready(server, place / "log")
            assert (answer(url, "/healthz", "localhost"), answer(url, "/readyz", "localhost")) == (200, 200)
            assert answer(url, "/healthz", "somewhere.example.com") == 421
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert "CapEff:\t0000000000000000" in status
            assert not identity or f"Uid:\t{identity['user']}" in status
        finally:
            server.terminate()
        assert server.wait(10) == 0
    assert sorted(path.name for path in data.iterdir()) == ["trimtab"]


def ready(server: subprocess.Popen[str], log: Path) -> str:
    end = time.monotonic() + READY_SECONDS
    assert server.stdout is not None
    readable, _, _ = select.select([server.stdout], [], [], end - time.monotonic())
    line = server.stdout.readline() if readable else ""
    assert line.startswith("trimtab ready "), log.read_text()[-3000:]
    return line.removeprefix("trimtab ready ").strip()


def answer(url: str, path: str, host: str) -> int:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()
