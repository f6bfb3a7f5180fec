"""What the API tells of containers."""
