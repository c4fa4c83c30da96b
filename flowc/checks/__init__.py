"""Checking every workflow and plan of a project: for people, for CI, before commits."""
