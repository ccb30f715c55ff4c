"""Edge: what must outlive the process. SQLite in one file, and the same in memory for tests and one-off commands."""
