"""Models: what they take and give, what is set of each, and pipelines of them."""
