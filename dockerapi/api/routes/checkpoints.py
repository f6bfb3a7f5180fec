"""Routes of checkpoints, which dockerd has in its experimental mode."""

from dockerapi.api.route import Route

ROUTES = (
    Route("GET", "/containers/{id:.*}/checkpoints", "CheckpointList"),
    Route("POST", "/containers/{id:.*}/checkpoints", "CheckpointCreate", 201),
    Route("DELETE", "/containers/{id:.*}/checkpoints/{checkpoint}", "CheckpointDelete", 204),
)
