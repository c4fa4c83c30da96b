"""Pure: the inference protocol, tensors, routes and the registry. No clock, no files, no sockets."""
