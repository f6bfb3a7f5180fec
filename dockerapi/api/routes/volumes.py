"""Routes of the tag Volume."""

from dockerapi.api.route import Route

ROUTES = (
    Route("GET", "/volumes", "VolumeList"),
    Route("POST", "/volumes/create", "VolumeCreate", 201),
    Route("GET", "/volumes/{name:.*}", "VolumeInspect"),
    Route("PUT", "/volumes/{name:.*}", "VolumeUpdate"),
    Route("DELETE", "/volumes/{name:.*}", "VolumeDelete", 204),
    Route("POST", "/volumes/prune", "VolumePrune"),
)
