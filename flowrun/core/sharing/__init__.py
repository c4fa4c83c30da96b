"""How many teams share one host: entitlements, fair shares, turns, preemption. `docs/sharing.md` tells it."""
