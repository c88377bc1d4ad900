"""Sums of whole days beside those of hours, and which days they are true of; none at first."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TOKENS = (
    "input",
    "input_cached",
    "input_cached_audio",
    "input_cached_image",
    "input_cache_write",
    "input_cache_write_5m",
    "input_cache_write_1h",
    "input_audio",
    "input_image",
    "output",
    "output_reasoning",
    "output_audio",
    "output_image",
)
_UNITS = ("audio_seconds", "images", "searches", "characters")


def upgrade() -> None:
    """Make the tables."""
    lite = op.get_context().dialect.name == "sqlite"

    def moment(name: str, **options: Any) -> sa.Column[Any]:
        return sa.Column(
            name, sa.String(27) if lite else sa.DateTime(timezone=True), nullable=False, **options
        )

    def text(name: str) -> sa.Column[Any]:
        return sa.Column(name, sa.Text(), nullable=False)

    op.create_table("days", moment("day", primary_key=True), text("sums"), sqlite_with_rowid=False)
    op.create_table(
        "day_rollups",
        sa.Column("tagged", sa.Boolean(), primary_key=True),
        moment("day", primary_key=True),
        sa.Column("digest", sa.String(32), primary_key=True),
        moment("first_hour"),
        moment("last_hour"),
        text("upstream"),
        text("operation"),
        text("model"),
        text("key"),
        text("tags"),
        text("outcome"),
        text("error_type"),
        text("usage_source"),
        text("price_status"),
        sa.Column("cut_short", sa.Boolean(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("cost_pico_usd", sa.Integer()) if lite else sa.Column("cost_usd", sa.Numeric(24, 12)),
        *(sa.Column(kind, sa.BigInteger(), nullable=False) for kind in _TOKENS),
        *(sa.Column(unit, sa.Double(), nullable=False) for unit in _UNITS),
        sqlite_with_rowid=False,
    )
