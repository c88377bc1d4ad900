"""The dashboards as code: `series` says what is read, `promql` how, `panels` how it looks, the rest what for.

Rules: a selector is written once, in `series`. Everything here is pure; only `build` touches files.
"""
