"""Models: what they take and give, and which there are."""
