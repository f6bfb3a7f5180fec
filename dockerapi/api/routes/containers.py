"""Routes of the tag Container, and what Docker 1.2 had besides."""

from dockerapi.api.route import Route
from dockerapi.model.versions import Version

ROUTES = (
    Route("GET", "/containers/json", "ContainerList"),
    Route("POST", "/containers/create", "ContainerCreate", 201),
    Route("GET", "/containers/{id:.*}/json", "ContainerInspect"),
    Route("GET", "/containers/{id:.*}/top", "ContainerTop"),
    Route("GET", "/containers/{id:.*}/logs", "ContainerLogs"),
    Route("GET", "/containers/{id:.*}/changes", "ContainerChanges"),
    Route("GET", "/containers/{id:.*}/export", "ContainerExport"),
    Route("GET", "/containers/{id:.*}/stats", "ContainerStats"),
    Route("POST", "/containers/{id:.*}/resize", "ContainerResize"),
    Route("POST", "/containers/{id:.*}/start", "ContainerStart", 204),
    Route("POST", "/containers/{id:.*}/stop", "ContainerStop", 204),
    Route("POST", "/containers/{id:.*}/restart", "ContainerRestart", 204),
    Route("POST", "/containers/{id:.*}/kill", "ContainerKill", 204),
    Route("POST", "/containers/{id:.*}/update", "ContainerUpdate"),
    Route("POST", "/containers/{id:.*}/rename", "ContainerRename", 204),
    Route("POST", "/containers/{id:.*}/pause", "ContainerPause", 204),
    Route("POST", "/containers/{id:.*}/unpause", "ContainerUnpause", 204),
    Route("POST", "/containers/{id:.*}/attach", "ContainerAttach"),
    Route("GET", "/containers/{id:.*}/attach/ws", "ContainerAttachWebsocket"),
    Route("POST", "/containers/{id:.*}/wait", "ContainerWait"),
    Route("DELETE", "/containers/{id:.*}", "ContainerDelete", 204),
    Route("HEAD", "/containers/{id:.*}/archive", "ContainerArchiveInfo"),
    Route("GET", "/containers/{id:.*}/archive", "ContainerArchive"),
    Route("PUT", "/containers/{id:.*}/archive", "PutContainerArchive"),
    Route("POST", "/containers/prune", "ContainerPrune"),
    Route("GET", "/containers/ps", "ContainerList"),
    Route("POST", "/containers/{id:.*}/copy", "ContainerCopy", until=Version(1, 24)),
)
