"""Tests of fileroom; the folders mirror those of the packages."""
