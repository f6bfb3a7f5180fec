"""Routes of the tag Distribution."""

from dockerapi.api.route import Route

ROUTES = (Route("GET", "/distribution/{name:.*}/json", "DistributionInspect"),)
