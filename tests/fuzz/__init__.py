"""Whatever comes from the network: only our named errors come out, nothing hangs, nothing grows. See `make fuzz`."""
