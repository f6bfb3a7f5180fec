"""Route rows, one module for each tag of the specification.

Rule: a row is data; the order of modules matters only where paths overlap.
"""

from dockerapi.api.routes import (
    build,
    checkpoints,
    containers,
    distribution,
    exec_,
    images,
    networks,
    plugins,
    session,
    swarm,
    system,
    volumes,
)

ROUTES = (
    *system.ROUTES,
    *checkpoints.ROUTES,
    *containers.ROUTES,
    *exec_.ROUTES,
    *images.ROUTES,
    *build.ROUTES,
    *networks.ROUTES,
    *volumes.ROUTES,
    *distribution.ROUTES,
    *swarm.ROUTES,
    *plugins.ROUTES,
    *session.ROUTES,
)
