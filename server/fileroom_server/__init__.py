"""The fileroom server: DIMSE services, configuration, command line and the wiring of its processes."""
