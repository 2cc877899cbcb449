"""AWS HealthImaging: its image sets in the index, their frames from the service."""
