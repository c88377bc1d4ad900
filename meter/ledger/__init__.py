"""The ledger: a row for every exchange, kept in SQLite or PostgreSQL.

Metrics forget at a restart; the ledger answers what was spent, by whom and on what, and lets the past be
priced anew. The proxy only ever adds to it, through `meter.sinks.ledger`; commands and the admin port read.

    schema      the tables, and how a record becomes a row
    migrations  how a database of an earlier version becomes one of this
    database    opening one: which it is, its pragmas, its version
    adding      adding rows, and what they add to the rollups
    settling    settling anew what rows cost
    writer      the thread that owns the database while Meter serves
    spill       the file for what the database does not take
    errors      what may be wrong with one

`reading` lists the modules that ask something; they are made of `cells` and `columns`.
"""
