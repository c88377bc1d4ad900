"""The questions that one can ask the ledger.

Each module here answers a few. `cells` adds up, in the database, what agrees in whatever one asks by; most
others make their answer of cells. Nothing here writes.
"""

from meter.ledger.cells import FIELDS, QuestionError
from meter.ledger.missing import Missing, missing
from meter.ledger.rows import exchange, exchanges
from meter.ledger.spend import Spend
from meter.ledger.usage import Usage, spent, usage
from meter.ledger.waste import Unread, Waste, waste

__all__ = [
    "FIELDS",
    "Missing",
    "QuestionError",
    "Spend",
    "Unread",
    "Usage",
    "Waste",
    "exchange",
    "exchanges",
    "missing",
    "spent",
    "usage",
    "waste",
]
