"""How the tables came to be what they are: Alembic steps, run whenever a database is opened."""
