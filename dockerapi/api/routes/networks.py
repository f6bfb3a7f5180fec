"""Routes of the tag Network."""

from dockerapi.api.route import Route

ROUTES = (
    Route("GET", "/networks", "NetworkList"),
    Route("GET", "/networks/{id:.*}", "NetworkInspect"),
    Route("DELETE", "/networks/{id:.*}", "NetworkDelete", 204),
    Route("POST", "/networks/create", "NetworkCreate", 201),
    Route("POST", "/networks/{id:.*}/connect", "NetworkConnect"),
    Route("POST", "/networks/{id:.*}/disconnect", "NetworkDisconnect"),
    Route("POST", "/networks/prune", "NetworkPrune"),
    Route("GET", "/networks/", "NetworkList"),
)
