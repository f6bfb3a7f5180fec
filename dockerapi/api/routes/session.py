"""Routes of the tag Session, and what BuildKit needs besides."""

from dockerapi.api.route import Route

ROUTES = (
    Route("POST", "/session", "Session"),
    Route("POST", "/grpc", "Grpc"),
)
