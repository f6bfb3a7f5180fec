"""Listening: host strings, endpoints, the gate, TLS, systemd, and the jobs that use them."""
