"""Changes with their reviews and comments, and the trail."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "change",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("change_stage", "change", ["stage", "number"])
    op.create_index("change_repository", "change", ["repository", "stage", "number"])
    op.create_index("change_author", "change", ["author", "stage", "number"])
    op.create_table(
        "comment",
        sa.Column("change", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "link",
        sa.Column("trail", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
