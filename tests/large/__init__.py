"""What takes many gigabytes of disk and minutes: `make test-large`."""
