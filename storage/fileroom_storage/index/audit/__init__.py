"""The audit log: who did what to which study, in rows that are chained by their hashes."""
