"""Health checks: commands run in containers again and again, and what follows from their ends."""
