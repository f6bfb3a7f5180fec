"""Exit statuses of the child, by meaning."""

#: What it says on its standard error is the reason.
FAILED = 1
NOT_FOUND = 2
NOT_DIRECTORY = 3
