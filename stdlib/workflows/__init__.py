"""Ready workflows on real data: compile, execute and serve them, or start your own from one."""
