"""Edge: the REST contract."""
