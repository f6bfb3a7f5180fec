"""Docker's API over HTTP: routes, versions, errors."""
