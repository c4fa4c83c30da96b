"""The artifact store: values as files under the hashes of their content."""
