"""Rows: Postgres as a child, the pool, named statements, migrations."""
