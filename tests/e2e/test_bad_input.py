"""Bad input, one commit after the other against one server: each is told with file, line and remedy, and what ran before runs on
unchanged; the next good commit goes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from trimtab.testing.served import Served, run

from .conftest import World, application, document, environment, process, several, text_file

GOOD: dict[str, str | bytes | None] = {
    ".trimtab/shop.yaml": application("shop"),
    ".trimtab/tools.yaml": application("tools"),
    "apps/shop/web.yaml": process("web"),
    "apps/tools/clock.yaml": process("clock"),
}
WEB = "apps/shop/web.yaml"
HEAD = "apiVersion: host.trimtab.dev/v1\nkind: Process\nmetadata:\n  name: web\nspec:\n"
BOMB = "".join(
    f"{letter}: &{letter} [{', '.join([f'*{before}'] * 9)}]\n" for before, letter in zip("abcdefgh", "bcdefghi", strict=True)
)
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n".format("4d7a" * 16)


def link(path: str, to: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        place = world.repository.path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(to)

    return make


def submodule(path: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        (world.repository.path / path).mkdir(parents=True)
        world.repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{path}")

    return make


@dataclass
class Case:
    """What is committed on top of the good state, and what must be said about it: where, and the words."""

    files: dict[str, Any]
    file: str
    line: int
    words: tuple[str, ...]
    make: list[Callable[[World], None]] = field(default_factory=list)


def tree(name: str = "web") -> str:
    return process(name, "sleep", "1", tree="program")


CASES = {
    "broken YAML": Case({WEB: HEAD + "  command: [sleep\n  args: }\n"}, WEB, 7, ()),
    "a tab": Case({WEB: HEAD + "\tcommand: [sleep]\n"}, WEB, 6, ("tab",)),
    "a key twice": Case({WEB: HEAD + "  command: [sleep]\n  command: [true]\n"}, WEB, 7, ("command", "twice")),
    "an alias bomb": Case({WEB: "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + BOMB}, WEB, 0, ("alias",)),
    "100 MB": Case({WEB: b"# " + b"x" * 100 * 2**20}, WEB, 0, ("bytes",)),
    "NUL": Case({WEB: HEAD.encode() + b"  command: [sl\0eep]\n"}, WEB, 6, ()),
    "an unknown kind": Case({WEB: HEAD.replace("Process", "Proces") + "  command: [sleep]\n"}, WEB, 2, ("Process",)),
    "an unknown field": Case({WEB: HEAD + "  command: [sleep]\n  replica: 2\n"}, WEB, 7, ("replica", "replicas")),
    "a wrong type": Case({WEB: HEAD + "  command: [sleep]\n  replicas: many\n"}, WEB, 7, ("replicas",)),
    "an unknown kind of configuration": Case(
        {".trimtab/new.yaml": "\napiVersion: trimtab.dev/v1\nkind: Aplication\nmetadata: {name: new}\n"},
        ".trimtab/new.yaml", 3, ("Application",),
    ),
    "an unknown field of configuration": Case(
        {".trimtab/shop.yaml": "apiVersion: trimtab.dev/v1\nkind: Application\nmetadata: {name: shop}\nspec:\n  sourcee: {path: a}\n"},
        ".trimtab/shop.yaml", 5, ("sourcee", "source"),
    ),
    "broken configuration": Case({".trimtab/shop.yaml": "apiVersion: [\n"}, ".trimtab/shop.yaml", 2, ()),
    "an environment that nobody declares": Case(
        {".trimtab/shop.yaml": application("shop", environments=["hots"])}, ".trimtab/shop.yaml", 1, ("hots", "host"),
    ),
    "a circle": Case(
        {".trimtab/shop.yaml": application("shop", dependsOn=["tools"]), ".trimtab/tools.yaml": application("tools", dependsOn=["shop"])},
        ".trimtab/shop.yaml", 1, ("shop", "tools"),
    ),
    "a source that leaves the repository": Case(
        {".trimtab/shop.yaml": application("shop", "../../etc")}, ".trimtab/shop.yaml", 1, ("leaves the repository",),
    ),
    "a source that is not there": Case({".trimtab/new.yaml": application("new", "apps/nwe")}, ".trimtab/new.yaml", 1, ("apps/nwe",)),
    "one name twice": Case({"apps/shop/more.yaml": process("web", "sleep", "2")}, WEB, 1, ("Process/web", "apps/shop/more.yaml")),
    "a link among manifests": Case({}, "apps/shop/more.yaml", 0, ("link",), [link("apps/shop/more.yaml", "/etc/passwd")]),
    "a link that leaves the tree": Case(
        {WEB: tree(), "apps/shop/program/run": "x"}, "", 0, ("link",), [link("apps/shop/program/out", "../../../../etc/passwd")],
    ),
    "a tree that leaves the repository": Case({WEB: process("web", "sleep", "1", tree="../../../etc")}, WEB, 1, ("spec.tree",)),
    "a tree that is not there": Case({WEB: process("web", "sleep", "1", tree="programm")}, WEB, 1, ("apps/shop/programm",)),
    "a submodule": Case({}, "apps/shop/library", 0, ("submodule",), [submodule("apps/shop/library")]),
    "a manifest in LFS": Case({WEB: LFS}, WEB, 1, ("LFS",)),
    "content in LFS": Case(
        {WEB: document("File", "web", {"path": "logo", "file": "logo.bin"}), "apps/shop/logo.bin": LFS}, WEB, 1, ("LFS",),
    ),
    "names that differ in case": Case({"apps/shop/Web.yaml": process("other")}, "apps/shop/web.yaml", 0, ("upper and lower case",)),
    "a name that is not UTF-8": Case({"apps/shop/caf\udce9.yaml": process("other")}, "", 0, ("UTF-8",)),
    "terminal escapes in a name": Case({"apps/shop/more.yaml": process("\x1b[2Jred")}, "apps/shop/more.yaml", 1, ("name",)),
    "terminal escapes in a file name": Case({"apps/shop/\x1b[2Jred.yaml": process("other")}, "", 0, ("control characters",)),
    "a file outside the allowed roots": Case(
        {"apps/shop/motd.yaml": text_file("motd", "x", "/etc/trimtab-motd")}, "apps/shop/motd.yaml", 1, ("outside the allowed roots",),
    ),
    "a file that climbs out": Case({"apps/shop/motd.yaml": text_file("motd", "x", "../../motd")}, "apps/shop/motd.yaml", 1, ("path",)),
    "a number that YAML reads otherwise": Case(
        {WEB: HEAD + "  command: [sleep, 1000]\n"}, WEB, 6, ("command",),
    ),
}  # fmt: skip


@dataclass
class Running:
    world: World
    served: Served
    good: str
    pids: list[int]

    def back(self) -> str:
        """A commit with the good state again."""
        self.world.repository.git("rm", "-r", "--quiet", "--force", "--ignore-unmatch", ".")
        self.world.repository.git("checkout", "--quiet", self.good, "--", ".")
        self.world.repository.git("commit", "--quiet", "--message", "good again")
        return self.world.repository.git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def started(worlds: Any) -> Running:
    world: World = worlds("bad-input")
    good = world.repository.commit(GOOD)
    served = world.serve()
    served.healthy(good)
    return Running(world, served, good, [*served.pids("shop", "web"), *served.pids("tools", "clock")])


@pytest.fixture
def running(started: Running) -> Iterator[Running]:
    """The same for each test: what one has left behind is taken back."""
    yield started
    if started.world.repository.git("diff", "--name-only", started.good, "HEAD"):
        started.served.healthy(started.back())


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_where_it_is_wrong_and_what_runs_stays(running: Running, name: str) -> None:
    case, served = CASES[name], running.served
    running.world.repository.write(case.files)
    running.world.repository.git("add", "--all")
    for make in case.make:
        make(running.world)
    bad = running.world.repository.commit(message=name)
    view = served.settled(bad)
    done = served.cli("status", bad)
    pids = [*served.pids("shop", "web"), *served.pids("tools", "clock")]
    good = running.back()

    assert pids == running.pids
    errors = [error for error in view["errors"] if all(word.casefold() in said(error) for word in case.words)]
    failed = [one for one in view["deployments"] if one["phase"] == "failed" and one["changed"]]
    told = errors or [one for one in failed if all(word.casefold() in one["message"].casefold() for word in case.words)]
    assert told, (view["errors"], failed)
    if case.file:
        assert any(error["file"] == case.file for error in errors), errors
    if case.line:
        assert any(error["line"] == case.line for error in errors), errors
    assert all(error["remedy"] for error in view["errors"]), view["errors"]
    assert done.code == 1
    assert "\x1b" not in done.out
    served.healthy(good)
    assert [*served.pids("shop", "web"), *served.pids("tools", "clock")] == running.pids


def said(error: dict[str, Any]) -> str:
    return f"{error['field']} {error['message']} {error['remedy']} {error['file']}".casefold()


def test_a_byte_order_mark_is_accepted(running: Running) -> None:
    commit = running.world.repository.commit({WEB: b"\xef\xbb\xbf" + str(GOOD[WEB]).encode()})
    running.served.healthy(commit)
    assert running.served.pids("shop", "web") == running.pids[:1]


def test_a_wrong_document_does_not_stop_the_good_ones(running: Running) -> None:
    commit = running.world.repository.commit({
        "apps/shop/web.yaml": "a: [", ".trimtab/broken.yaml": "kind: Applicatio\n", "apps/tools/motd.yaml": text_file("motd", "here\n"),
    })  # fmt: skip
    view = running.served.settled(commit)
    phases = {one["application"]: one["phase"] for one in view["deployments"]}
    assert phases == {"shop": "failed", "tools": "healthy"}
    assert {error["file"] for error in view["errors"]} == {"apps/shop/web.yaml", ".trimtab/broken.yaml"}
    assert next(running.world.data.glob("host/files/*/motd.txt")).read_text() == "here\n"
    explained = running.served.cli("app", "explain", "shop")
    assert "apps/shop/web.yaml" in explained.out
    running.served.healthy(running.back())


def test_terminal_escapes_in_logs_are_taken_out(running: Running) -> None:
    script = r"printf '\033]0;owned\007\033[31mred\033[0m alert\r\n'; exec sleep 1000"
    commit = running.world.repository.commit({"apps/shop/loud.yaml": process("loud", "sh", "-c", script)})
    running.served.healthy(commit)
    done = running.served.cli("app", "logs", "shop", "--object", "Process/loud")
    assert "red alert" in done.out
    assert "\x1b" not in done.out
    assert "\x07" not in done.out
    running.served.healthy(running.back())


def test_a_command_that_does_not_exist_fails_and_the_old_one_goes_on(running: Running) -> None:
    commit = running.world.repository.commit({WEB: process("web", "no-such-command", "--now")})
    view = running.served.settled(commit, 20)
    (failed,) = [one for one in view["deployments"] if one["application"] == "shop"]
    assert failed["phase"] == "failed"
    assert "no-such-command" in failed["lastLogLine"]
    assert running.served.pids("shop", "web")[0] is not None
    assert running.pids[0] in running.served.pids("shop", "web")
    running.served.healthy(running.back())
    assert running.served.pids("shop", "web") == running.pids[:1]


def test_plan_says_the_same_without_a_server(tmp_path: Any) -> None:
    for name in ("an unknown field", "a key twice", "an unknown field of configuration"):
        case, root = CASES[name], tmp_path / name.replace(" ", "-")
        for path, content in (GOOD | case.files).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(str(content))
        done = run("plan", str(root), "--output", "json")
        assert done.code == 1, name
        assert (case.file, case.line) in {(error["file"], error["line"]) for error in done.json["errors"]}, name


def test_an_environment_of_another_kind_of_target_does_not_stop_the_others(running: Running) -> None:
    commit = running.world.repository.commit({
        ".trimtab/moon.yaml": several(environment("moon", target={"kind": "moon"}), application("rocket", environments=["moon"])),
        "apps/rocket/all.yaml": process("rocket"),
    })  # fmt: skip
    view = running.served.settled(commit)
    assert any(error["file"] == ".trimtab/moon.yaml" and "host" in said(error) for error in view["errors"])
    assert [*running.served.pids("shop", "web"), *running.served.pids("tools", "clock")] == running.pids
    running.served.healthy(running.back())
