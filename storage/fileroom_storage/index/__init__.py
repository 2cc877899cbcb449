"""The relational index: tables built from the attribute rows, the group-committing writer, migrations."""
