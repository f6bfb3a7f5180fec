"""The forwarding engine: an engine that already exists."""
