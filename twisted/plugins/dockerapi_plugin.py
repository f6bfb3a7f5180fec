"""Tell twistd of the command `dockerapi`."""

from twisted.application.service import ServiceMaker

dockerapi = ServiceMaker(
    "dockerapi",
    "dockerapi.tap",
    "A Docker Server: the Docker Engine API over a real engine.",
    "dockerapi",
)
