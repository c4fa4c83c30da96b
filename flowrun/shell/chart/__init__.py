"""Schedules as Gantt charts, of runs that were and of runs that are simulated.

`rows` folds many nodes into few rows, `terminal` and `svg` draw them.
"""
