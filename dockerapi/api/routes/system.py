"""Routes of the tag System."""

from dockerapi.api.route import Route

ROUTES = (
    Route("POST", "/auth", "SystemAuth"),
    Route("GET", "/info", "SystemInfo"),
    Route("GET", "/version", "SystemVersion"),
    Route("GET", "/_ping", "SystemPing"),
    Route("HEAD", "/_ping", "SystemPingHead"),
    Route("GET", "/events", "SystemEvents"),
    Route("GET", "/system/df", "SystemDataUsage"),
)
