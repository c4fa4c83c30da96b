"""Puts load on a running server, for `flowserve bench`."""
