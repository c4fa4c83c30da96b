"""Rollouts: who answers, what was seen of both sides, and what follows from that."""
