"""What makes the process: conmon, the OCI runtimes, and the configuration that they get."""
