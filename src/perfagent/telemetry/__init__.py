"""Edge: our own metrics and logs."""
