"""The Open Inference Protocol over gRPC, and gRPC's own services, as values."""
