"""HTTP/2 (RFC 9113) for gRPC, with asyncio's transports."""
