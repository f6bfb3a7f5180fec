"""Units for systemd, as package data."""
