"""Plugins: what a command is given, what it may not do, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.limits import DEFAULT
from trimtab.plumbing import confined
from trimtab.render.plugin import PluginCommand
from trimtab.render.renderer import TreeRenderer
from trimtab.testing.trees import Executable, Link, MemoryTree, Node

from .charts import plugin

LIMITS = replace(DEFAULT, tool_seconds=5, tool_bytes=1_000_000, tool_memory_bytes=512 << 20)
TELLS = """import json, os, pathlib, socket, sys
def fails(call):
    try:
        call()
    except OSError:
        return True
    return False
print(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "told"}, "data": {
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "files": sorted(str(path) for path in pathlib.Path(".").rglob("*") if path.is_file()),
    "mode": oct(os.stat("run.sh").st_mode & 0o777) if os.path.exists("run.sh") else "",
    "home": os.listdir(os.environ["HOME"]),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "no way out": fails(lambda: socket.create_connection(("127.0.0.1", int(os.environ.get("PARAMETER_PORT", "9"))), 1)),
}}))
"""
FILES: dict[str, Node] = {"app/one.cue": "x: 1", "app/deep/two.cue": "y: 2", "app/run.sh": Executable(b"#!"), "other": "not seen"}


def script(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "plugin.py"
    path.write_text(text)
    return (sys.executable, "-I", "-S", str(path))


@pytest.fixture
async def render(tmp_path: Path) -> AsyncIterator[Renders]:
    made = Renders(tmp_path)
    yield made
    for renderer in made.renderers:
        await renderer.close()


class Renders:
    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.renderers: list[TreeRenderer] = []

    def renderer(self, text: str, *, network: bool = False) -> TreeRenderer:
        command = PluginCommand((*script(self.tmp_path, text), "export"), network)
        self.renderers.append(TreeRenderer(self.tmp_path / "cache", limits=LIMITS, plugins={"cue": command}))
        return self.renderers[-1]

    async def told(self, text: str = TELLS, *, network: bool = False, **parameters: str) -> dict[str, object]:
        rendered = await self.renderer(text, network=network).render(plugin("cue", **parameters), MemoryTree(FILES))
        (one,) = rendered.manifests
        return one.body["data"]  # type: ignore[no-any-return]


async def test_a_command_is_given_the_directory_and_its_parameters(render: Renders, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of ours: an empty home, no variables, no network interface but its own loopback."""
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    told = await render.told(**{"image-tag": "v1", "port": "1"})
    assert told["files"] == ["deep/two.cue", "one.cue", "run.sh"]
    assert (told["arguments"], told["mode"], told["home"], told["interfaces"]) == (["export"], "0o555", [], ["lo"])
    environment = told["environment"]
    assert isinstance(environment, dict)
    assert environment.keys() - {"LC_CTYPE"} == {
        *(
            "PATH",
            "HOME",
            "TMPDIR",
            "LC_ALL",
            "TRIMTAB_APPLICATION",
            "TRIMTAB_ENVIRONMENT",
            "PARAMETER_IMAGE_TAG",
            "PARAMETER_PORT",
        )
    }
    assert (environment["PARAMETER_IMAGE_TAG"], environment["TRIMTAB_APPLICATION"]) == ("v1", "web")


async def test_the_network_is_for_whom_the_operator_allows_it(render: Renders) -> None:
    """Not even a server on this machine is reached without."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    async with server:
        assert (await render.told(port=port))["no way out"] is True
        assert (await render.told(network=True, port=port))["no way out"] is False


async def test_without_namespaces_a_plugin_is_not_run(render: Renders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it may use the network anyway."""
    broken = render.tmp_path / "confined.py"
    broken.write_text(Path(confined.__file__).read_text().replace("0x10000000", "0x7"))  # what no kernel takes
    monkeypatch.setattr(confined, "__file__", str(broken))
    with pytest.raises(TransientError, match="cannot be confined") as raised:
        await render.told()
    assert "--plugin-network" in raised.value.remedy
    assert (await render.told(network=True))["files"]


async def test_a_result_is_kept_until_something_of_it_changes(render: Renders) -> None:
    """The directory, the parameters or the program."""
    renderer = render.renderer(TELLS)
    assert not (await renderer.render(plugin("cue"), MemoryTree(FILES))).cached
    assert (await renderer.render(plugin("cue"), MemoryTree({**FILES, "other": "changed"}))).cached
    assert not (await renderer.render(plugin("cue", a="b"), MemoryTree(FILES))).cached
    assert not (await renderer.render(plugin("cue"), MemoryTree({**FILES, "app/one.cue": "x: 2"}))).cached


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("import sys; sys.exit('no field x in ' + __import__('os').getcwd() + '/one.cue')", UserError, "no field x in"),
        ("print('a: [')", UserError, "cue printed this"),
        ("print('just text')", UserError, "no object|not an object"),
        ("print('x' * 2_000_000)", UserError, "more than 1000000 bytes"),
        ("import time; time.sleep(60)", TransientError, "killed after 5 s"),
        ("x = 'x' * (1 << 30)", UserError, "MemoryError"),
        ("open('new', 'w') if __import__('os').geteuid() else exit('Permission denied')", UserError, "Permission denied"),
        ("import os; os.kill(os.getpid(), 9)", UserError, "failed with -9"),
    ],
)
async def test_a_command_that_fails(render: Renders, text: str, error: type[Exception], words: str) -> None:
    """Its words are told, without the paths of this machine."""
    with pytest.raises(error, match=words) as raised:
        await render.told(text)
    assert "trimtab-render-" not in str(raised.value)


async def test_nothing_that_a_command_starts_outlives_it(render: Renders) -> None:
    """However it hides: in a session of its own, with its own name, after its parent has ended."""
    mark = f"mark-{render.tmp_path.name}"
    hides = f"""import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv({sys.executable!r}, ["python", "-c", "import time; time.sleep(100)", {mark!r}])
    os._exit(0)
time.sleep(0.3)
print('{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "told"}}, "data": {{}}}}')
"""
    await render.told(hides)
    for _ in range(100):
        if not any(mark in _command(process) for process in Path("/proc").glob("[0-9]*")):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it is still there")


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""  # it has just ended


async def test_a_plugin_that_nobody_declared(tmp_path: Path) -> None:
    """A commit cannot bring one along."""
    with pytest.raises(UserError, match="this server has no plugin cue") as raised:
        await TreeRenderer(tmp_path).render(plugin("cue"), MemoryTree(FILES))
    assert "--plugin" in raised.value.remedy


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    renderer = TreeRenderer(tmp_path, plugins={"cue": PluginCommand(("/nowhere/cue",))})
    with pytest.raises(TransientError, match="there is no /nowhere/cue"):
        await renderer.render(plugin("cue"), MemoryTree(FILES))


@pytest.mark.parametrize(("name", "value"), [("a b", ""), ("a=b", ""), ("", "x"), ("a", "x\0y")])
async def test_parameters_that_no_program_can_be_given(render: Renders, name: str, value: str) -> None:
    with pytest.raises(UserError, match="cannot be given"):
        await render.told(**{name: value})


async def test_links_are_not_followed(render: Renders) -> None:
    with pytest.raises(UserError, match="a link or a submodule"):
        await render.renderer(TELLS).render(plugin("cue"), MemoryTree({"app/link": Link("/etc/passwd")}))


def test_bounds_are_kept_by_the_kernel(tmp_path: Path) -> None:
    """Memory, sizes of files, open files and processes, for whatever runs within them."""
    text = """import json, resource
print(json.dumps([resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_NPROC)]))
"""
    bounds = confined.Bounds(memory_bytes=1 << 30, cpu_seconds=7, file_bytes=1 << 20, open_files=99, processes=77)
    done = subprocess.run(confined.command(bounds, list(script(tmp_path, text))), capture_output=True, check=True)
    assert json.loads(done.stdout) == [1 << 30, 4 << 30, 1 << 20, 99, 7, 77]


def test_exit_codes_and_signals_are_those_of_the_command(tmp_path: Path) -> None:
    for text, code in (("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", -15)):
        done = subprocess.run(confined.command(confined.Bounds(), list(script(tmp_path, text))), check=False)
        assert done.returncode == code
    missing = subprocess.run(confined.command(confined.Bounds(), ["/nowhere"]), capture_output=True, check=False)
    assert (missing.returncode, missing.stderr) == (127, b"/nowhere: No such file or directory\n")
