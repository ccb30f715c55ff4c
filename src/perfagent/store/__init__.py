"""Edge: SQLite by default; migrations."""
