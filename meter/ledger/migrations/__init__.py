"""How a ledger of an earlier version becomes one of this: one file in `versions` for each step, by Alembic.

A step stands by itself: it says what it makes, and does not ask `meter.ledger.schema`, which says how the
tables are after the last one. `meter.ledger.database` runs them, and names the last in `HEAD`.
"""
