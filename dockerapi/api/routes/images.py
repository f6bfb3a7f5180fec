"""Routes of the tag Image, without building."""

from dockerapi.api.route import Route

ROUTES = (
    Route("GET", "/images/json", "ImageList"),
    Route("POST", "/images/create", "ImageCreate"),
    Route("GET", "/images/{name:.*}/json", "ImageInspect"),
    Route("GET", "/images/{name:.*}/attestations", "ImageAttestations"),
    Route("GET", "/images/{name:.*}/history", "ImageHistory"),
    Route("POST", "/images/{name:.*}/push", "ImagePush"),
    Route("POST", "/images/{name:.*}/tag", "ImageTag", 201),
    Route("DELETE", "/images/{name:.*}", "ImageDelete"),
    Route("GET", "/images/search", "ImageSearch"),
    Route("POST", "/images/prune", "ImagePrune"),
    Route("POST", "/commit", "ImageCommit", 201),
    Route("GET", "/images/{name:.*}/get", "ImageGet"),
    Route("GET", "/images/get", "ImageGetAll"),
    Route("POST", "/images/load", "ImageLoad"),
)
