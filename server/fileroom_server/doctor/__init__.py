"""Replays the requests of viewers against any DICOMweb server, and tells what would break, where, and what to do."""
