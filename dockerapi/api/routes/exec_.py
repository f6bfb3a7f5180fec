"""Routes of the tag Exec."""

from dockerapi.api.route import Route

ROUTES = (
    Route("POST", "/containers/{id:.*}/exec", "ContainerExec", 201),
    Route("POST", "/exec/{id:.*}/start", "ExecStart"),
    Route("POST", "/exec/{id:.*}/resize", "ExecResize"),
    Route("GET", "/exec/{id:.*}/json", "ExecInspect"),
)
