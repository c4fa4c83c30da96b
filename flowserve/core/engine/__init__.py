"""When a call runs, beside which others, and when it is refused: policy without a clock or threads."""
