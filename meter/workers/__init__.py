"""Several processes on the proxy port, and one that is told everything.

The parent serves nobody but the admin port. It has all sinks, as if it served alone; its workers have one,
which sends it each finished exchange. So there is one of each: registry, ledger writer, log. Nothing is
merged, but for what is under way, which is added up.

    wire      what is said between them, and how
    crew      the parent's side: starts workers, replaces those that end, passes on what they tell
    relay     the worker's mouth
    worker    a worker's process
"""
