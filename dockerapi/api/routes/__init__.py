"""Route rows, one module for each tag of the specification."""
