"""Numbered steps from an empty database to the newest schema: `NNNN_name.sql`."""
