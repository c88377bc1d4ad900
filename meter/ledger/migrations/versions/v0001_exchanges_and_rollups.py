"""The first tables: a row for every exchange, and the sums of each hour."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
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
    _exchanges()
    op.create_index("exchanges_by_time", "exchanges", ["timestamp"])
    _rollups()


def _money(name: str) -> sa.Column[Any]:
    if _lite():
        return sa.Column(name.replace("_usd", "_pico_usd"), sa.Integer())
    return sa.Column(name, sa.Numeric(24, 12))


def _moment(name: str, **options: Any) -> sa.Column[Any]:
    kind = sa.String(27) if _lite() else sa.DateTime(timezone=True)
    return sa.Column(name, kind, nullable=False, **options)


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _lite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _exchanges() -> None:
    op.create_table(
        "exchanges",
        sa.Column("id", sa.String(36), primary_key=True),
        _moment("timestamp"),
        _text("trace_id", nullable=True),
        _text("upstream"),
        _text("provider", nullable=True),
        _text("operation"),
        _text("method"),
        _text("path"),
        sa.Column("status", sa.Integer()),
        _text("outcome"),
        _text("error_type"),
        sa.Column("stream", sa.Boolean(), nullable=False),
        _text("request_model", nullable=True),
        _text("response_model", nullable=True),
        _text("model"),
        _text("key"),
        _text("tags"),
        _text("usage"),
        _text("units"),
        _money("cost_usd"),
        _money("provider_cost_usd"),
        _text("usage_source"),
        _text("price_status"),
        _text("price_source", nullable=True),
        _text("price_revision", nullable=True),
        _text("service_tier", nullable=True),
        _text("finish_reasons"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("ttft_s", sa.Double()),
        sa.Column("overhead_s", sa.Double()),
        sa.Column("request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("response_bytes", sa.BigInteger(), nullable=False),
        _text("upstream_request_id", nullable=True),
        sqlite_with_rowid=False,
    )


def _rollups() -> None:
    op.create_table(
        "rollups",
        _moment("hour", primary_key=True),
        sa.Column("digest", sa.String(32), primary_key=True),
        _text("upstream"),
        _text("operation"),
        _text("model"),
        _text("key"),
        _text("tags"),
        _text("outcome"),
        _text("error_type"),
        _text("usage_source"),
        _text("price_status"),
        sa.Column("cut_short", sa.Boolean(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        _money("cost_usd"),
        *(sa.Column(kind, sa.BigInteger(), nullable=False) for kind in _TOKENS),
        *(sa.Column(unit, sa.Double(), nullable=False) for unit in _UNITS),
        sqlite_with_rowid=False,
    )
