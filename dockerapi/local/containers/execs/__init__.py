"""Further processes in containers that run."""
