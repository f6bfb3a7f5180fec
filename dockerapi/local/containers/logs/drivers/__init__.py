"""Log drivers that send a container's log elsewhere, each fed from its spool."""
