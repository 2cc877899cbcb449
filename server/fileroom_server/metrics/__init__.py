"""What the server counts and measures of itself, for Prometheus: declared in `table.py`, told by `exposition.py`."""
