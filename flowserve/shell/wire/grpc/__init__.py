"""gRPC calls, on the event loop that serves HTTP."""
