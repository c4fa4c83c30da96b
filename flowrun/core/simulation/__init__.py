"""The scheduler's core, driven by a simulated clock: what a plan is going to take, on any host.

`costs` says how long things take, `zygotes` when processes can begin, and `answers` what only a run could
tell; `world` plays the run with `decide`, exactly as a real one; `whatif` plays it on other hosts. The
outcome is a `flowrun.core.timeline`, as a real run's is, and is read and drawn by the same functions.
"""
