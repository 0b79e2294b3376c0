"""Kustomizations: the files that they reach, the tool that renders them, and everything that is refused.

The tool is a small script here that keeps to the command line of `kustomize`, and a real one too.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kubernetes.program import kustomize

from trimtab.core.model.errors import TransientError, TrimtabError, UserError
from trimtab.core.model.limits import DEFAULT
from trimtab.ports.renderer import RenderRequest
from trimtab.render import closure
from trimtab.render.renderer import TreeRenderer
from trimtab.testing.trees import Link, MemoryTree, Node, Submodule

FAKE = '''#!{python}
"""Prints every resource that a kustomization names, as `kustomize build` does for one without changes."""
import os, pathlib, re, sys, time
assert set(os.environ) <= {{"PATH", "HOME", "LC_ALL", "KUBECONFIG", "GIT_ALLOW_PROTOCOL", "TMPDIR", "http_proxy", "https_proxy",
                           "HTTP_PROXY", "HTTPS_PROXY", "LC_CTYPE"}}, sorted(os.environ)
if sys.argv[1] == "version":
    print("v0.0-{version}")
    sys.exit()
assert sys.argv[1] == "build"

def build(directory):
    text = next(path for path in map(directory.joinpath, ("kustomization.yaml", "kustomization.yml")) if path.exists()).read_text()
    if "#fail" in text:
        sys.exit(f"Error: cannot read \\x1b[31m{{directory}}/x.yaml")
    if "#sleep" in text:
        time.sleep(60)
    if "#die" in text:
        os.kill(os.getpid(), 9)
    if "#flood" in text:
        print("x" * 2_000_000)
    for name in re.findall(r"^ *- ([-\\w./]+)$", text, re.M):
        path = directory / name
        if path.is_dir():
            build(path.resolve())
        else:
            print("---\\n" + path.read_text())

build(pathlib.Path(sys.argv[2]))
'''


@pytest.fixture(scope="session")
def real() -> str:
    """A kubectl or a kustomize: the machine's own, or else one that is built of its library."""
    return str(kustomize())


@pytest.fixture
def fake(tmp_path: Path) -> str:
    return script(tmp_path, "1")


def script(directory: Path, version: str) -> str:
    path = directory / "kustomize"
    path.write_text(FAKE.format(python=sys.executable, version=version))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def web(name: str = "web") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"


FILES: dict[str, Node] = {
    "shop/prod/kustomization.yaml": "resources:\n  - ../base\n  - extra.yaml\n",
    "shop/prod/extra.yaml": web("extra"),
    "shop/prod/README.md": "not reached",
    "shop/base/kustomization.yml": "resources:\n  - web.yaml\n",
    "shop/base/web.yaml": web(),
    "shop/base/unused.yaml": "not: reached",
}


def request(path: str = "shop/prod", renderer: str = "") -> RenderRequest:
    return RenderRequest("shop", "host", path, renderer)


@pytest.mark.parametrize("tool", ["fake", "real"])
async def test_a_base_and_an_overlay(tmp_path: Path, fake: str, real: str, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool sees the closure only, without our environment; its output is read, cached, and current until an input changes."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    renderer = TreeRenderer(tmp_path / "cache", kustomize=fake if tool == "fake" else real)
    made = await renderer.render(request(), MemoryTree(FILES))
    assert sorted(one.ref.name for one in made.manifests) == ["extra", "web"]
    assert {(one.file, one.line) for one in made.manifests} == {("shop/prod/kustomization.yaml", 0)}
    assert [path for path, id_ in made.inputs if id_] == [
        "shop/base/kustomization.yml",
        "shop/base/web.yaml",
        "shop/prod/extra.yaml",
        "shop/prod/kustomization.yaml",
    ]
    unrelated = MemoryTree({**FILES, "shop/base/unused.yaml": "changed: 1", "shop/prod/README.md": "changed"})
    assert renderer.current(made.inputs, unrelated)
    assert (await renderer.render(request(), unrelated)).cached
    for change in ({"shop/base/web.yaml": web("other")}, {"shop/base/kustomization.yaml": "resources: []"}):
        assert not renderer.current(made.inputs, MemoryTree({**FILES, **change}))
    anew = await renderer.render(request(), MemoryTree({**FILES, "shop/base/web.yaml": web("other")}))
    assert sorted(one.ref.name for one in anew.manifests) == ["extra", "other"]


async def test_everything_that_names_a_file(tmp_path: Path, real: str) -> None:
    """Patches, components, generators, replacements and transformers find their files, by the real tool."""
    files: dict[str, Node] = {
        "app/kustomization.yaml": """
resources: [../lib, web.yaml]
components: [../component]
patches:
  - path: patch.yaml
  - target: {kind: ConfigMap, name: web}
    patch: |-
      - op: add
        path: /data/inline
        value: "1"
configMapGenerator:
  - name: made
    files: [settings.ini, other=deep/x.txt]
    envs: [vars.env]
replacements: [{path: replacement.yaml}]
transformers: [transformer.yaml]
generatorOptions: {disableNameSuffixHash: true}
""",
        "app/web.yaml": web() + "data: {a: b}\n",
        "app/patch.yaml": web() + "data: {patched: 'yes'}\n",
        "app/settings.ini": "x=1",
        "app/deep/x.txt": "deep",
        "app/vars.env": "A=1",
        "app/replacement.yaml": "source: {kind: ConfigMap, name: web, fieldPath: data.a}\n"
        "targets: [{select: {kind: ConfigMap, name: lib}, fieldPaths: [data.copied], options: {create: true}}]\n",
        "app/transformer.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {team: shop}\n"
        "fieldSpecs: [{path: metadata/labels, create: true}]\n",
        "component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: p-\n",
        "lib/kustomization.yaml": "resources: [lib.yaml]\n",
        "lib/lib.yaml": web("lib") + "data: {}\n",
    }
    tree = MemoryTree(files)
    made = await TreeRenderer(tmp_path, kustomize=real).render(request("app"), tree)
    bodies = {one.ref.name: one.body for one in made.manifests}
    assert bodies["p-web"]["data"] == {"a": "b", "patched": "yes", "inline": "1"}
    assert bodies["p-lib"]["data"] == {"copied": "b"}
    assert bodies["p-made"]["data"] == {"settings.ini": "x=1", "other": "deep", "A": "1"}
    assert bodies["p-made"]["metadata"]["labels"] == {"team": "shop"}
    app = tree.entry("app")
    assert app is not None
    assert ("app", app.id) in made.inputs, "with a transformer the directory is taken whole"


@pytest.mark.parametrize(
    ("kustomization", "line", "words"),
    [
        ("resources:\n  - https://example.com/x.yaml\n", 2, "is an address"),
        ("resources:\n  - github.com/owner/repository\n", 2, "is an address"),
        ("resources:\n  - git@example.com:owner/repository.git\n", 2, "is an address"),
        ("resources:\n  - base?ref=main\n", 2, "is an address"),
        ("resources: [ssh://git@example.com/x]\n", 1, "is an address"),
        ("bases:\n- ../../../out\n", 2, "leaves the repository"),
        ("patches:\n- path: /etc/passwd\n", 2, "absolute"),
        ("resources:\n\n  - missing.yaml\n", 3, "app/missing.yaml is not there"),
        ("resources: [link.yaml]\n", 1, "symbolic link"),
        ("resources: [module]\n", 1, "submodule"),
        ("configMapGenerator:\n- name: a\n  files: [x=link.yaml]\n", 3, "symbolic link"),
        ("resources: [folder]\n", 0, "no kustomization file"),
        ("resources: [two]\n", 0, "side by side"),
        ("helmCharts:\n- name: x\n", 1, "charts"),
        ("resources: [\n", 2, "not YAML"),
        ("- a list\n", 1, "a mapping is wanted"),
        ("resources: [lfs.yaml]\n", 1, "Git LFS"),
    ],
)
async def test_refused_before_any_tool_sees_it(tmp_path: Path, kustomization: str, line: int, words: str) -> None:
    """Addresses, links, submodules, missing files and ways out of the repository are refused with the line, and no tool is run."""
    files: dict[str, Node] = {
        "app/kustomization.yaml": kustomization,
        "app/link.yaml": Link("/etc/passwd"),
        "app/module": Submodule(),
        "app/folder/x.yaml": web(),
        "app/two/kustomization.yaml": "",
        "app/two/Kustomization": "",
        "app/lfs.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4" * 64 + "\nsize 12345\n",
    }
    with pytest.raises(UserError) as caught:
        await TreeRenderer(tmp_path, kustomize=str(tmp_path / "never-run")).render(request("app"), MemoryTree(files))
    problem = caught.value.problems[0]
    assert words in problem.message
    assert problem.line == line
    assert problem.remedy


@pytest.mark.parametrize(
    ("mark", "error", "words"),
    [
        ("#fail", UserError, "kustomize: Error: cannot read app/x.yaml"),
        ("#sleep", TransientError, "killed after"),
        ("#die", TransientError, "signal 9"),
        ("#flood", UserError, "printed more than"),
    ],
)
async def test_a_tool_that_fails(tmp_path: Path, fake: str, mark: str, error: type[TrimtabError], words: str) -> None:
    """A tool that fails is the user's error with what it said, made safe; one that is killed or too slow may be tried again."""
    limits = replace(DEFAULT, tool_seconds=1.0 if mark == "#sleep" else 30, tool_bytes=1_000_000)
    renderer = TreeRenderer(tmp_path / "cache", kustomize=fake, limits=limits)
    with pytest.raises(error) as caught:
        await renderer.render(request("app"), MemoryTree({"app/kustomization.yaml": mark}))
    assert words in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert type(caught.value) is error


async def test_no_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a tool the error says what to install; plain rendering of the same directory does not need one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    renderer = TreeRenderer(tmp_path / "cache")
    with pytest.raises(TransientError, match="Install kustomize"):
        await renderer.render(request(), MemoryTree(FILES))
    made = await renderer.render(request(renderer="plain"), MemoryTree({**FILES, "shop/prod/extra.yaml": web()}))
    assert [one.ref.name for one in made.manifests] == ["web"]


async def test_another_version_of_the_tool_renders_anew(tmp_path: Path) -> None:
    """The tool's version is part of the key, and a tool that was replaced is asked again."""
    renderer = TreeRenderer(tmp_path / "cache", kustomize=script(tmp_path, "1"))
    tree = MemoryTree(FILES)
    assert not (await renderer.render(request(), tree)).cached
    assert (await renderer.render(request(), tree)).cached
    path = script(tmp_path, "two")
    os.utime(path, (1, 1))
    assert not (await renderer.render(request(), tree)).cached


async def test_renderer_kustomize_without_a_kustomization(tmp_path: Path, fake: str) -> None:
    """Asking for kustomize where there is no kustomization is an error."""
    with pytest.raises(UserError, match="no kustomization file"):
        await TreeRenderer(tmp_path, kustomize=fake).render(request("app", "kustomize"), MemoryTree({"app/x.yaml": web()}))


async def test_what_it_prints_is_checked(tmp_path: Path, fake: str) -> None:
    """Output that is no manifest, or two of one name, is an error that names the kustomization."""
    for text in ("a: 1\n", web() + "---\n" + web(), "a: [\n"):
        files: dict[str, Node] = {"app/kustomization.yaml": "resources:\n  - x.yaml\n", "app/x.yaml": text}
        with pytest.raises(UserError) as caught:
            await TreeRenderer(tmp_path / "cache", kustomize=fake).render(request("app"), MemoryTree(files))
        assert {(one.file, one.line) for one in caught.value.problems} == {("app/kustomization.yaml", 0)}


def test_circles_and_bounds() -> None:
    """Bases in a circle end, and a closure that is too large is refused."""
    files: dict[str, Node] = {
        "a/kustomization.yaml": "resources: [../b]\n",
        "b/kustomization.yaml": "resources: [../a, x.yaml]\n",
        "b/x.yaml": web(),
    }
    found = closure.find(MemoryTree(files), "a", DEFAULT)
    assert set(found.files) == set(files)
    assert closure.find(MemoryTree(files), "a", replace(DEFAULT, files=2)).problems
