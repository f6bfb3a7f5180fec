"""Images of the embedded engine."""
