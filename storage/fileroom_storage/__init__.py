"""The index and the object store of fileroom: knows nothing of networks."""
