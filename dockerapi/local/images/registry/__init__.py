"""Speaking to registries: the client's side of the OCI distribution specification."""
