"""Routes of building images."""

from dockerapi.api.route import Route

ROUTES = (
    Route("POST", "/build", "ImageBuild"),
    Route("POST", "/build/prune", "BuildPrune"),
    Route("POST", "/build/cancel", "BuildCancel", 204),
)
