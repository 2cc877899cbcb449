"""Measurements: fileroom beside its peers, and in indexes of different sizes."""
