"""What a change does to plans: compared, explained, and told to reviewers and to git."""
