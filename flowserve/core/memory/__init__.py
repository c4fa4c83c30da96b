"""What is in memory: which models go when there is no room, and which come before they are asked for."""
