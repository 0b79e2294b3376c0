"""What people do with stock git against the server: clone, fetch, push, and what it tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from trimtab.core.model.errors import UserError
from trimtab.git.hosting import Limits
from trimtab.ports.hosting import Accept, Push, Redirect, RefUpdate, Refuse, Verdict

from .conftest import Serve, Served, Work


async def test_a_new_repository_is_cloned_pushed_to_and_cloned_again(served: Served):
    """Empty at first; what was pushed comes out again, the same."""
    await served.hosting.create("team/shop")
    ann = await served.clone("team/shop", "ann")
    commit = await ann.commit("first", a="1\n")
    await ann.git("push", "--quiet", "origin", "main")
    rae = await served.clone("team/shop", "rae", who="rae")
    assert await rae.head() == commit
    assert served.engine.moved == [RefUpdate("refs/heads/main", "", commit)]
    assert served.left_over == []


@pytest.mark.parametrize("protocol", ["0", "1", "2"])
async def test_every_protocol_version_of_git_is_served(served: Served, work: Work, protocol: str):
    """Clone, fetch, push and ls-remote."""
    commit = await work.commit("second", a="2\n")
    await work.git("-c", f"protocol.version={protocol}", "push", "--quiet", "origin", "HEAD:main")
    other = await served.clone("shop", "other", "-c", f"protocol.version={protocol}")
    assert await other.head() == commit
    third = await work.commit("third", a="3\n")
    await work.git("push", "--quiet", "origin", "HEAD:main")
    await other.git("fetch", "--quiet")
    assert await other.head("origin/main") == third
    assert f"{third}\trefs/heads/main" in await other.git("ls-remote", "origin")


@pytest.mark.parametrize("protocol", ["0", "2"])
async def test_shallow_and_partial_clones(served: Served, work: Work, protocol: str):
    """A shallow one has one commit and may be deepened; a partial one fetches a file's content when it is needed."""
    for number in range(3):
        await work.commit(f"change {number}", a=f"{number}\n" * 100)
    await work.git("push", "--quiet", "origin", "HEAD:main")
    version = ("-c", f"protocol.version={protocol}")
    shallow = await served.clone("shop", "shallow", "--depth=1", *version)
    assert await shallow.git("rev-list", "--count", "HEAD") == "1"
    await shallow.git("fetch", "--quiet", "--unshallow")
    assert await shallow.git("rev-list", "--count", "HEAD") == "4"
    partial = await served.clone("shop", "partial", "--filter=blob:none", "--no-checkout", *version)
    assert "?" in await partial.git("rev-list", "--objects", "--missing=print", "HEAD")
    assert await partial.git("show", "HEAD~2:a") == "0\n" * 99 + "0"


async def test_a_push_from_a_shallow_clone(served: Served, work: Work):
    await work.commit("second", a="2\n")
    await work.git("push", "--quiet", "origin", "HEAD:main")
    shallow = await served.clone("shop", "shallow", "--depth=1")
    commit = await shallow.commit("third", a="3\n")
    await shallow.git("push", "--quiet", "origin", "HEAD:main")
    assert await served.hosting.refs("shop") == {"refs/heads/main": commit}


async def test_an_unchanged_poll_starts_no_process(served: Served, work: Work, monkeypatch: pytest.MonkeyPatch):
    """What was told once is told again until a ref moves, also when somebody moves it in the directory itself."""
    await work.git("ls-remote", "origin")
    await work.git("fetch", "--quiet")
    place = served.hosting.place("shop")
    started: list[tuple[str, ...]] = []
    local = place.git.local

    async def counted(*arguments: object, **options: object) -> object:
        started.append(tuple(map(str, arguments[1:])))
        return await local(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(place.git, "local", counted)
    before = await work.git("ls-remote", "origin")
    await work.git("fetch", "--quiet")
    assert started == []
    await Work(place.path).git("update-ref", "refs/heads/side", "refs/heads/main")
    after = await work.git("ls-remote", "origin")
    assert started
    assert after.splitlines() == [*before.splitlines(), f"{await work.head()}\trefs/heads/side"]


async def test_twenty_clones_at_once(served: Served, work: Work):
    clones = await asyncio.gather(*(served.clone("shop", f"clone-{number}") for number in range(20)))
    assert {await clone.head() for clone in clones} == {await work.head()}


# --- the verdict ----------------------------------------------------------------------------------------------------------------


async def test_a_refused_ref_stays_and_the_pusher_reads_why(served: Served, work: Work):
    """Other refs of the same push move."""

    async def verdict(push: Push) -> Verdict:
        answers = tuple(Refuse("protected branch") if u.ref == "refs/heads/main" else Accept() for u in push.updates)
        return Verdict(answers, lines=("Open a Change instead:", "  git push origin HEAD:refs/for/main"))

    served.engine.verdict = verdict
    first = await work.head()
    commit = await work.commit("second", a="2\n")
    done = await work.run("push", "origin", "HEAD:main", "HEAD:feature")
    assert done.code == 1
    assert "! [remote rejected] HEAD -> main (protected branch)" in done.err
    assert "remote:   git push origin HEAD:refs/for/main" in done.err
    assert await served.hosting.refs("shop") == {"refs/heads/feature": commit, "refs/heads/main": first}


async def test_what_is_pushed_for_review_goes_to_another_ref(served: Served, work: Work):
    """refs/for/main is never made; git shows the ref that was; a second ref moves with it."""

    async def verdict(push: Push) -> Verdict:
        new = push.updates[0].new
        return Verdict((Redirect("refs/changes/7/1"),), also=(RefUpdate("refs/changes/7/head", "", new),))

    served.engine.verdict = verdict
    first = await work.head()
    commit = await work.commit("second", a="2\n")
    done = await work.run("push", "origin", "HEAD:refs/for/main")
    assert done.code == 0
    assert "refs/changes/7/1" in done.err
    refs = {"refs/changes/7/1": commit, "refs/changes/7/head": commit, "refs/heads/main": first}
    assert await served.hosting.refs("shop") == refs
    await work.git("fetch", "--quiet", "origin", "refs/changes/7/1")
    assert await work.head("FETCH_HEAD") == commit


async def test_review_refs_are_not_made_when_nobody_takes_them(served: Served, work: Work):
    done = await work.run("push", "origin", "HEAD:refs/for/main")
    assert "nothing here takes this ref" in done.err
    assert "refs/for/main" not in await served.hosting.refs("shop")


async def test_the_verdict_reads_what_was_pushed_before_anybody_else_can(served: Served, work: Work):
    """Commits, files, ancestry and changed paths, over the quarantine; nothing of it is in the repository yet."""
    seen: list[object] = []
    first = await work.head()

    async def verdict(push: Push) -> Verdict:
        new, history = push.updates[0].new, push.history
        log = await history.log(new, without=[push.updates[0].old])
        seen.extend([[each.subject for each in log], history.tree(new).read("a", bytes_max=9)])
        seen.extend([await history.contains(first, new), await history.changed_paths(first, new)])
        seen.extend([served.hosting.history("shop").has(new), push.principal.name, push.options])
        return Verdict((Refuse("not today"),))

    served.engine.verdict = verdict
    commit = await work.commit("second", a="2\n")
    done = await work.run("push", "-o", "change", "-o", "title=A new price", "origin", "HEAD:main")
    assert "not today" in done.err
    assert seen == [["second"], b"2\n", True, frozenset({"a"}), False, "ann", ("change", "title=A new price")]
    assert not served.hosting.history("shop").has(commit)
    assert served.left_over == []


async def test_lines_come_while_the_receiver_is_at_it(served: Served, work: Work):
    """The first line is on the terminal before the second is known."""
    shown = asyncio.Event()

    async def lines(push: Push) -> AsyncIterator[str]:
        yield "Change 7 https://trimtab.example/changes/7"
        await asyncio.wait_for(shown.wait(), 10)
        yield "staging: 1 to update"

    served.engine.lines = lines
    await work.commit("second", a="2\n")
    process = await asyncio.create_subprocess_exec(
        *("git", "push", "origin", "HEAD:main"), cwd=work.path, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while "Change 7" not in (line := (await process.stderr.readline()).decode()):
            assert line
        shown.set()
        rest = (await process.communicate())[1].decode()
    assert "remote: staging: 1 to update" in rest
    assert process.returncode == 0


async def test_what_takes_too_long_to_tell_does_not_hold_the_pusher(serve: Serve):
    served = await serve(Limits(tell_seconds=0.3))
    await served.hosting.create("shop")

    async def lines(push: Push) -> AsyncIterator[str]:
        yield "begun"
        await asyncio.sleep(60)
        yield "never"

    served.engine.lines = lines
    work = await served.clone("shop")
    commit = await work.commit(a="1\n")
    done = await work.run("push", "origin", "HEAD:main")
    assert done.code == 0
    assert "remote: begun" in done.err
    assert "never" not in done.err
    assert await served.hosting.refs("shop") == {"refs/heads/main": commit}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("judge it: no configuration", remedy="Push one"), "judge it: no configuration. Push one"),
        (ValueError("x"), "its log"),
    ],
)
async def test_a_verdict_that_fails_refuses_everything(served: Served, work: Work, error: Exception, words: str):
    """With the words of what a person can mend, and without those of our own mistakes."""

    async def verdict(push: Push) -> Verdict:
        raise error

    served.engine.verdict = verdict
    first = await work.head()
    await work.commit("second", a="2\n")
    done = await work.run("push", "origin", "HEAD:main")
    assert done.code == 1
    assert words in done.err
    assert await served.hosting.refs("shop") == {"refs/heads/main": first}


async def test_a_verdict_comes_in_time_or_is_a_refusal(serve: Serve):
    served = await serve(Limits(judge_seconds=0.2))
    await served.hosting.create("shop")

    async def verdict(push: Push) -> Verdict:
        await asyncio.sleep(60)
        return Verdict((Accept(),))

    served.engine.verdict = verdict
    work = await served.clone("shop")
    await work.commit(a="1\n")
    done = await work.run("push", "origin", "HEAD:main")
    assert "There was no verdict within 0.2 s" in done.err
    assert await served.hosting.refs("shop") == {}


async def test_an_atomic_push_moves_all_or_nothing(served: Served, work: Work):
    async def verdict(push: Push) -> Verdict:
        return Verdict(tuple(Refuse("no") if u.ref.endswith("side") else Accept() for u in push.updates))

    served.engine.verdict = verdict
    first = await work.head()
    await work.commit("second", a="2\n")
    done = await work.run("push", "--atomic", "origin", "HEAD:main", "HEAD:side")
    assert done.code == 1
    assert await served.hosting.refs("shop") == {"refs/heads/main": first}


async def test_two_pushes_at_once_to_one_branch(served: Served, work: Work):
    """Both are judged; one moves the branch, the other is told to fetch."""
    both = asyncio.Barrier(2)

    async def verdict(push: Push) -> Verdict:
        await both.wait()
        return Verdict((Accept(),))

    served.engine.verdict = verdict
    other = await served.clone("shop", "other")
    commits = [await work.commit("one", a="2\n"), await other.commit("two", a="3\n")]
    done = await asyncio.gather(*(each.run("push", "origin", "HEAD:main") for each in (work, other)))
    assert sorted(each.code for each in done) == [0, 1]
    winner = commits[0] if done[0].code == 0 else commits[1]
    assert await served.hosting.refs("shop") == {"refs/heads/main": winner}
    assert any("a ref moved meanwhile" in each.err for each in done)
    assert served.left_over == []


async def test_ten_pushes_at_once_to_ten_branches(served: Served, work: Work):
    clones = [await served.clone("shop", f"clone-{number}") for number in range(10)]
    heads = {f"refs/heads/b{n}": await clone.commit(f"change {n}", a=f"{n}\n") for n, clone in enumerate(clones)}
    await asyncio.gather(*(clone.git("push", "--quiet", "origin", f"HEAD:b{n}") for n, clone in enumerate(clones)))
    assert await served.hosting.refs("shop") == {**heads, "refs/heads/main": await work.head()}


async def test_deletion_and_force_are_judged_like_any_move(served: Served, work: Work):
    """A branch goes with `git push --delete`; the default branch does not, whatever the verdict."""
    first = await work.head()
    second = await work.commit("second", a="2\n")
    await work.git("push", "--quiet", "origin", "HEAD:main", "HEAD:side")
    await work.git("push", "--quiet", "--delete", "origin", "side")
    await work.git("push", "--quiet", "--force", "origin", f"{first}:main")
    assert served.engine.moved[-2:] == [RefUpdate("refs/heads/side", second, ""), RefUpdate("refs/heads/main", second, first)]
    done = await work.run("push", "--delete", "origin", "main")
    assert "the default branch cannot be deleted" in done.err
    assert await served.hosting.refs("shop") == {"refs/heads/main": first}


async def test_tags_are_pushed_and_fetched(served: Served, work: Work):
    await work.git("tag", "-a", "v1", "-m", "one")
    await work.git("push", "--quiet", "origin", "v1")
    other = await served.clone("shop", "other")
    assert await other.head("v1^{commit}") == await work.head()


# --- who may ----------------------------------------------------------------------------------------------------------------------


async def test_nobody_comes_in_without_a_token(served: Served, work: Work):
    """401 makes git ask; a wrong token fails; a reader may not push; nobody learns whether a closed repository is there."""
    base = Work(served.base)
    no_token = await base.run("ls-remote", f"http://{served.address}/git/shop.git")
    assert "could not read Username" in no_token.err
    wrong = await base.run("ls-remote", f"http://ann:wrong@{served.address}/git/shop.git")
    assert "Authentication failed" in wrong.err
    reader = await served.clone("shop", "rae", who="rae")
    await reader.commit("mine", a="9\n")
    done = await reader.run("push", "origin", "HEAD:main")
    assert "remote: rae may not push to shop" in done.err
    for name in ("private/there", "private/not-there"):
        assert "remote: not yours" in (await base.run("ls-remote", served.url(name))).err
    busy = await base.run("ls-remote", f"http://ann:slow-down@{served.address}/git/shop.git")
    assert "429" in busy.err
    assert served.engine.moved == [RefUpdate("refs/heads/main", "", await work.head())]


async def test_git_asks_its_credential_helper(served: Served, work: Work):
    helper = "!f() { echo username=rae; echo password=rae; }; f"
    url = f"http://{served.address}/git/shop.git"
    assert await work.head() in await work.git("-c", f"credential.helper={helper}", "ls-remote", url)


async def test_what_is_not_served_says_so(served: Served, work: Work):
    """An unknown repository, the dumb protocol, and LFS."""
    base = Work(served.base)
    assert "there is no hosted repository" in (await base.run("ls-remote", served.url("nope"))).err
    dumb = await base.run("ls-remote", served.url("shop"), GIT_SMART_HTTP="0")
    assert "remote: This server speaks git's smart protocol only" in dumb.err
    status, body = await ask(served, "POST", "/git/shop.git/info/lfs/objects/batch", b"{}")
    assert (status, b"Git LFS is not served here" in body) == (501, True)


async def ask(served: Served, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """One request as Ann, without git."""
    import base64

    host, port = served.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    sent = {
        "Host": served.address,
        "Authorization": "Basic " + base64.b64encode(b"ann:ann").decode(),
        "Content-Length": str(len(body)),
        "Connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items()) + "\r\n"
    writer.write(head.encode() + body)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer
