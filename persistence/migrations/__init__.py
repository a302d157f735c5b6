"""Alembic's script directory: one .sql file per version, run by a few lines of Python."""
