"""What is told of a server: what was counted, as values, and what becomes of it. No clock, no files."""
