"""A schedule computed ahead: resource-constrained project scheduling."""
