"""HTTP/2 and gRPC's framing as values: bytes to frames, header blocks and messages, and back."""
