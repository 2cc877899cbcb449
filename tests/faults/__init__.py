"""Faults of processes, disks, databases and networks, and what a server keeps of its promises under them."""
