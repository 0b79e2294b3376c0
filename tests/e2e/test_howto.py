"""The pages of docs/howto: each is typed in as it stands, on the example that it says it begins with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .console import ROOT, opened

FOLDER = ROOT / "docs" / "howto"
NOT_TYPED = {
    "README.md": "the list of the others",
    "write-a-health-rule.md": "needs a cluster; tests/kubernetes/test_rules.py holds it true",
    "leave-fields-to-others.md": "needs a cluster; tests/kubernetes/test_leaving.py holds it true",
    "host-repositories.md": "needs the address of a server; tests/e2e/test_git_server.py holds it true",
    "check-with-your-own-program.md": "needs a checker; tests/cli/test_checkers.py holds it true",
    "propose-review-merge.md": "needs several people; tests/e2e/test_changes.py holds it true",
    "rules-for-a-branch.md": "has nothing to type in; tests/engine/test_changes.py holds it true",
    "demo.md": "the demo checks itself",
    "helm.md": "needs chart repositories; tests/render/test_helm.py and test_charts.py hold it true",
    "plugins.md": "needs a plugin; tests/render/test_plugin.py holds it true",
    "install.md": "needs a package registry",
    "run-on-kubernetes.md": "needs an image; tests/kubernetes/test_deploy.py and tests/deploy hold it true",
    "run-as-a-service.md": "needs systemd",
    "kubeconfig-in-a-secret.md": "needs two clusters; tests/kubernetes/test_lent.py holds it true",
    "generate-applications.md": "has no commands; tests/engine/test_generating.py and tests/cli/test_offline.py hold it true",
    "many-clusters.md": "needs two clusters; tests/kubernetes/test_fleet.py holds it true",
    "least-privilege.md": "needs accounts on a cluster; tests/kubernetes/test_confined.py and test_projects.py hold it true",
    "private-repositories.md": "needs a machine with ssh; test_private.py and tests/git hold it true",
}
ON_A_CLUSTER = {"kubernetes.md"}
"""Typed in by tests/kubernetes/test_example.py."""
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name not in {*NOT_TYPED, *ON_A_CLUSTER})
_BEGINS = re.compile(r"\(\.\./\.\./examples/([\w-]+)/README\.md\), running\s+in `~/(\w+)`")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_does_what_it_says(path: Path) -> None:
    begins = _BEGINS.search(path.read_text(encoding="utf-8"))
    assert begins is not None, "the page does not say which example it begins with"
    example, name = begins.groups()
    with opened(path) as page:
        page.run(f"cp -r ~/trimtab/examples/{example} ~/{name} && cd ~/{name} && git init --quiet --initial-branch main")
        page.run("git add . && git commit --quiet --message 'The example'")
        page.serve(f"trimtab serve --repository ~/{name} --data ~/{name}-data")
        page.run(f"export TRIMTAB_DATA=~/{name}-data")
        page.run("trimtab status HEAD --wait healthy --timeout 30s")
        page.type_in()


def test_the_list_of_pages_is_complete() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\]\(([a-z-]+\.md)\)", index)
    assert sorted(listed) == sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")
    assert len(set(listed)) == len(listed)


def test_pages_that_are_not_typed_in_have_no_console() -> None:
    assert [name for name in NOT_TYPED if "```console" in (FOLDER / name).read_text(encoding="utf-8")] == []
