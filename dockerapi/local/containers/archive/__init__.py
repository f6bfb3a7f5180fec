"""What is copied into and out of containers, exported, told as changed, and committed."""
