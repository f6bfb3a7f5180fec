"""Docker 1.2's job engine, typed."""
