"""Alembic migrations of the index: frozen once released."""
