"""What would be: plans and queues of jobs on other hosts."""
