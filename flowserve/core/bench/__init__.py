"""What a load is made of, and what came of it: requests, latencies, a report. No clock, no network."""
