"""The worker processes: who forks them, what they are told and tell, what is put back between two nodes."""
