"""What an operator's code is: hashes of all that it reaches in the project, read from sources."""
