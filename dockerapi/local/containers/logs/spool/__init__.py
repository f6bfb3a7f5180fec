"""A container's log on disk: written by conmon, rotated, read with a cursor."""
