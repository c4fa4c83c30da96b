"""The plan file: its rows, its types, and the diagnostics that every command prints.

A leaf: nothing here imports the rest of `flowc`, so `flowrun` can read plans without the compiler.
The format is specified in `docs/formats/plan.md`.
"""
