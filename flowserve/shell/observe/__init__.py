"""Tells of requests elsewhere than in answers: logs, samples, traces."""
