"""What other people's tests may use."""
