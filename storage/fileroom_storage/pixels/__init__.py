"""Pixel data that has to be decoded or encoded; the receiving path never comes here."""
