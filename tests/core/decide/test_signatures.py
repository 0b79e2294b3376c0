"""What an Environment asks of signatures, and which configuration is trusted to say so."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.signatures import SERVER, Signed, Trust, differs, keys, missing, next_trust, trust_of, with_server
from trimtab.core.model.config import Configuration, Environment, EnvironmentSpec, Signatures
from trimtab.core.model.kind import Metadata
from trimtab.core.model.names import Revision
from trimtab.core.model.people import Group, GroupSpec, User, UserSpec
from trimtab.core.model.signature import Signature, SigningKeys, State

from .test_configuration import configured, document, only

RULE = Signatures(required=True, by=["ops"])


def user(name: str, *ssh: str, disabled: bool = False) -> User:
    return User(Metadata(name), UserSpec(ssh_keys=list(ssh), disabled=disabled))


def configuration(*users: User, rule: Signatures = RULE, members: tuple[str, ...] = ("ada",)) -> Configuration:
    return Configuration(
        environments={"production": Environment(Metadata("production"), EnvironmentSpec(signatures=rule))},
        users={one.metadata.name: one for one in users},
        groups={"ops": Group(Metadata("ops"), GroupSpec(users=list(members)))},
    )


def signed(signature: Signature, *environments: str, revision: str = "f" * 40) -> Signed:
    return Signed(Revision(revision), signature, frozenset(environments))


def under(rule: Signatures) -> Trust:
    return trust_of(configuration(user("ada", "k-ada"), user("bob", "k-bob"), rule=rule))


BASE = configuration(user("ada", "k-ada"), user("bob", "k-bob"))
TRUST = trust_of(BASE)


def test_what_is_missing_is_said_with_who_can() -> None:
    """Each state but a good one of the right person is a reason that names the commit and who lifts it."""
    lift = "A commit on top of it that is signed by a member of ops lifts this"
    for state, words in (
        ("unsigned", "is not signed"),
        ("unknown", "a key that Git does not declare (SHA256:x)"),
        ("bad", "does not fit it"),
        ("expired", "a key that is expired"),
        ("revoked", "a key that is revoked"),
    ):
        why = missing(signed(Signature(state, detail="SHA256:x")), "production", TRUST)  # type: ignore[arg-type]
        assert words in why
        assert why.startswith("commit ffffffffffff ")
        assert why.endswith(lift)
    assert missing(signed(Signature("good", "ada")), "production", TRUST) == ""
    assert "bob, who is in none of ops" in missing(signed(Signature("good", "bob")), "production", TRUST)
    assert missing(signed(Signature("good", "bob")), "production", under(Signatures(required=True))) == ""


def test_a_merge_of_the_server_counts_where_it_says_it_is_signed_for() -> None:
    """It is nobody's in particular, so Groups do not ask for it; for another Environment it is worth nothing."""
    merge = signed(Signature("good", SERVER), "production", "other")
    assert missing(merge, "production", TRUST) == ""
    assert "is a merge that is not signed for production" in missing(
        signed(Signature("good", SERVER), "other"), "production", TRUST
    )
    assert missing(signed(Signature("unsigned"), "production"), "production", TRUST), "the words alone are worth nothing"


def test_the_servers_key_is_nobody_elses() -> None:
    """A User that declares it gets nothing from it, and only where merges are made does it count at all."""
    declared = SigningKeys(ssh=(("eve", "ssh-ed25519 AAAAserver eve@host"), ("ada", "k-ada")))
    assert with_server(declared, "ssh-ed25519 AAAAserver", merges=False).ssh == (("ada", "k-ada"),)
    assert with_server(declared, "ssh-ed25519 AAAAserver", merges=True).ssh == (
        (SERVER, "ssh-ed25519 AAAAserver"),
        ("ada", "k-ada"),
    )
    assert with_server(declared, "", merges=True) == declared


def test_keys_that_count() -> None:
    """Those that were trusted and are still declared: a new one waits for a signed commit, one that is gone counts no more."""
    now = configuration(user("ada", "k-ada", "k-new"), user("eve", "k-eve"))
    assert keys(TRUST, now).ssh == (("ada", "k-ada"),)
    assert keys(TRUST, configuration(user("ada", "k-ada", disabled=True), user("bob"))).ssh == ()


def test_the_first_rule_is_believed() -> None:
    """While nothing asks for signatures, whatever is declared is trusted."""
    assert not differs(Trust(), TRUST)
    assert next_trust(Trust(), TRUST, None) == (TRUST, "")


def test_people_and_rules_change_by_a_signed_commit_alone() -> None:
    """A commit that brings its own key, joins a Group, or takes the rule away changes nothing of it until it is signed as the rule asks."""
    for offered in (
        configuration(user("ada", "k-ada"), user("bob", "k-bob"), user("eve", "k-eve")),
        configuration(user("ada", "k-ada"), user("bob", "k-bob"), members=("ada", "bob")),
        configuration(user("ada", "k-ada"), user("bob", "k-bob"), rule=Signatures()),
        Configuration(),
    ):
        new = trust_of(offered)
        for signature in (Signature("unsigned"), Signature("good", "bob"), Signature("unknown")):
            kept, why = next_trust(TRUST, new, signed(signature))
            assert kept == TRUST
            assert "Environment production: commit ffffffffffff" in why
        assert next_trust(TRUST, new, signed(Signature("good", "ada"))) == (new, "")
        assert next_trust(TRUST, new, signed(Signature("good", SERVER), "production")) == (new, "")
        assert next_trust(TRUST, new, signed(Signature("good", SERVER), "other"))[0] == TRUST


signatures = st.builds(Signature, st.sampled_from(get_args(State)), st.sampled_from(["", "ada", "bob", "eve", SERVER]))
rules = st.builds(Signatures, st.just(True), st.sampled_from([[], ["ops"], ["other"]]))


@given(signatures, rules, st.sets(st.sampled_from(["production", "other"])))
def test_law_only_a_good_signature_opens(signature: Signature, rule: Signatures, environments: set[str]) -> None:
    """Nothing but a good signature ever keeps a rule, with Groups only one of a member, and of the server one for that Environment."""
    if missing(signed(signature, *environments), "production", under(rule)) == "":
        assert signature.state == "good"
        if signature.user == SERVER:
            assert "production" in environments
        else:
            assert not rule.by or (signature.user == "ada" and rule.by == ["ops"])


def test_a_group_that_is_not_there() -> None:
    """A rule that names a Group which Git does not declare is wrong, and the rule of before holds."""
    before = configured(document("Environment", "production", "{signatures: {required: true}}"))
    text = document("Environment", "production", "{signatures: {required: true, by: [ops]}}")
    found = configured(text, before=before)
    assert only(found).field == "spec.signatures.by[0]"
    assert found.environments["production"].spec.signatures == Signatures(required=True)
