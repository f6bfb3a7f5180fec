"""Trees of files as tar archives: programs that run in children, isolated from what they read."""
