"""Networks of the embedded engine."""
