"""Stand-ins for services that no test can reach, which speak their real protocols over real sockets."""
