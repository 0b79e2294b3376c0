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
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import yaml

from trimtab.cli.serve import serve

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


SYSTEM, BUILD, IMAGE = stages()


def texts(stage: list[Instruction], name: str) -> list[str]:
    return [one.text for one in stage if one.name == name]


def variables() -> dict[str, str]:
    (text,) = texts(IMAGE, "ENV")
    return dict(re.findall(r"(\w+)=(\S+)", text))


def command() -> list[str]:
    """What the container runs, without the first process that hands signals on and buries orphans."""
    (start,), (arguments,) = (texts(IMAGE, name) for name in ("ENTRYPOINT", "CMD"))
    tini, dashes, *words = [*json.loads(start), *json.loads(arguments)]
    assert (tini, dashes) == ("tini", "--")
    return words


def pinned(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


def test_no_registry_is_named_and_every_stage_stands_on_the_same_base() -> None:
    assert [stage[0].text for stage in (SYSTEM, BUILD, IMAGE)] == ["${BASE} AS system", "system AS build", "system"]
    (base,) = re.findall(r"^ARG BASE=(\S+)$", RECIPE.read_text(encoding="utf-8"), re.MULTILINE)
    assert re.fullmatch(r"debian:[\w.-]+", base)


def test_what_is_installed_is_locked_by_hash_and_nothing_that_builds_is_in_the_image_that_runs() -> None:
    builder, locked, wheel = [text for text in texts(BUILD, "RUN") if "pip install" in text or "pip --python" in text]
    for text, lock in ((builder, "build.txt"), (locked, "image.txt")):
        assert text.endswith(f"--require-hashes --only-binary=:all: --requirement requirements/{lock}")
    assert "--python /opt/trimtab" not in builder
    assert "--no-deps --no-build-isolation --no-index" in wheel
    assert not any(
        word in text for stage in (SYSTEM, IMAGE) for text in texts(stage, "RUN") for word in ("pip", "curl", "gcc", "venv")
    )
    assert texts(IMAGE, "COPY") == ["--from=build /opt/trimtab /opt/trimtab"]


def test_no_list_cache_or_log_stays_in_the_layer_of_the_system_and_no_program_becomes_somebody_else() -> None:
    packages, _ = texts(SYSTEM, "RUN")
    assert re.search(r"rm -rf /var/lib/apt/lists/\* /var/cache/apt/\* .*/var/log/\*", packages)
    assert packages.endswith("find / -xdev -type f -perm /6000 -exec chmod a-s {} +")
    installed = packages.partition("--no-install-recommends")[2].partition("&&")[0].split()
    assert {"git", "kubernetes-client", "openssh-client", "ca-certificates", "tini"} <= set(installed)


def test_the_locks_of_the_image_are_those_of_the_tests_and_have_all_extras() -> None:
    build, image, run, dev = (pinned(name) for name in ("build.txt", "image.txt", "run.txt", "dev.txt"))
    assert build.items() <= run.items() <= (build | image).items() <= dev.items()
    assert "hatchling" in build.keys() - image.keys()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {re.split(r"[<>=!~]", one)[0] for wanted in extras.values() for one in wanted} == image.keys() - run.keys()


def test_what_is_copied_is_there_and_the_builder_is_given_nothing_else() -> None:
    sources = {word for text in texts(BUILD, "COPY") for word in text.split()[:-1]}
    assert [source for source in sources if not (ROOT / source).exists()] == []
    admitted = re.findall(r"^!(\S+)$", (ROOT / "deploy" / "Containerfile.dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(admitted) == sources


def test_it_runs_as_a_user_that_is_no_superuser() -> None:
    (user,) = texts(IMAGE, "USER")
    assert int(user.partition(":")[0]) > 0
    assert any(f"useradd --uid {user.partition(':')[0]} " in text for text in texts(SYSTEM, "RUN"))


def test_its_program_is_the_projects_and_its_variables_are_settings_below_its_volume() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert command()[0] in scripts
    (volume,), given = texts(IMAGE, "VOLUME"), variables()
    assert {name for name in given if name.startswith("TRIMTAB_")} <= {
        one.envvar for one in serve.params if isinstance(one, click.Option)
    }
    assert all(given[name].startswith(f"{volume}/") for name in ("HOME", "TRIMTAB_DATA"))


def test_the_manifests_run_it_as_the_recipe_says() -> None:
    """The same user, port, volume and command line, so that what runs as a container by itself runs in a cluster."""
    manifest = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "base" / "deployment.yaml").read_text(encoding="utf-8"))
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert texts(IMAGE, "USER") == [f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"]
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert texts(IMAGE, "EXPOSE") == [str(port["containerPort"]) for port in container["ports"]]
    assert texts(IMAGE, "VOLUME") == [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "data"]
    assert "command" not in container
    shared = [word for word in container["args"] if word not in ("--allowed-host", "trimtab.trimtab.svc", "$(REPOSITORY)")]
    assert [*shared, container["env"][0]["value"]] == command()[1:]


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
    words = command()
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
