"""Tokens: their text, their digest, and when one is good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.tokens import KEPT_DAYS, PREFIX, digest, ended, principal, text, to_forget, well_formed
from trimtab.core.model.rights import Action, TokenScope
from trimtab.core.model.token import Token

from .test_rights import people, user

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOKEN = Token("id", "ada", "0" * 64, NOW, NOW + timedelta(days=1), scope=TokenScope((Action.READ,)))
ADA = people(user("ada"))
secrets = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(secrets, st.integers(4, 75), st.sampled_from("0123456789abcdef"))
def test_law_a_slip_is_noticed(secret: str, at: int, other: str) -> None:
    """A token is recognisable and well formed; with one character changed it is not."""
    made = text(secret)
    assert made.startswith(PREFIX)
    assert well_formed(made)
    changed = made[:at] + other + made[at + 1 :]
    assert well_formed(changed) == (changed == made)


def test_what_cannot_be_a_token() -> None:
    """Anything else is not well formed, and has a digest all the same: nothing raises."""
    for wrong in ("", "ttk_", "x" * 5000, text("0" * 64) + "\n", text("0" * 64).upper(), "\ud800"):
        assert not well_formed(wrong)
        assert len(digest(wrong)) == 64


def test_when_a_token_is_good() -> None:
    """Until it expires, is revoked, or its User is disabled or gone."""
    revoked = Token("id", "ada", "0" * 64, NOW, NOW + timedelta(days=1), revoked=NOW)
    assert ended(TOKEN, ADA, NOW) == ""
    assert ended(TOKEN, ADA, NOW + timedelta(days=1)) == "the token expired on 2026-03-02"
    assert ended(revoked, ADA, NOW) == "the token was revoked"
    assert ended(TOKEN, people(user("ada", disabled=True)), NOW) == "ada is disabled in Git"
    assert ended(TOKEN, people(user("bob")), NOW) == "Git declares no User ada any more"


def test_a_token_stands_for_its_user() -> None:
    """The identity is the User; the token says only how narrow it is."""
    assert (principal(TOKEN).user, principal(TOKEN).scope.actions, principal(TOKEN).operator) == ("ada", (Action.READ,), False)


def test_what_ended_long_ago_is_forgotten() -> None:
    """A token is listed for a while after its end, and not for ever."""
    assert to_forget([TOKEN], NOW + timedelta(days=KEPT_DAYS)) == []
    assert to_forget([TOKEN], NOW + timedelta(days=KEPT_DAYS + 2)) == [TOKEN]
