"""The logs of containers: a spool that conmon writes, read by clients and log drivers."""
