"""The first schema: events, deployments, inventory, documents, what was seen, and the lease."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _event()
    _deployment()
    _entry()
    _seen()
    op.create_table("counter", _key("name"), sa.Column("value", sa.BigInteger, nullable=False))
    op.create_table("document", _key("name"), sa.Column("body", sa.LargeBinary, nullable=False))
    op.create_table(
        "lease",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("application", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("event_time", "event", ["time"])
    op.create_index("event_kind", "event", ["kind", "id"])
    op.create_index("event_application", "event", ["application", "environment", "id"])
    op.create_index("event_environment", "event", ["environment", "id"])
    op.create_index("event_revision", "event", ["revision", "id"])


def _deployment() -> None:
    op.create_table(
        "deployment",
        _key("environment"),
        _key("application"),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("deployment_sequence", "deployment", ["sequence"])
    op.create_index("deployment_ended", "deployment", ["ended", "environment", "application", "sequence"])


def _entry() -> None:
    op.create_table(
        "entry",
        *(_key(name) for name in ("environment", "group", "kind", "namespace", "name")),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def _seen() -> None:
    op.create_table(
        "seen",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
    )
    op.create_index("seen_repository", "seen", ["repository", "sequence"])
    op.create_index("seen_revision", "seen", ["repository", "revision", "sequence"])


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)
