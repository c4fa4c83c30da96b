"""What PROJECT does, in one sentence."""
