"""What all parts of containers stand on: which there are, where they are, what they may use.

Rule: nothing here starts or ends a container; who does is made on top, with all that it needs.
"""

from __future__ import annotations

from dockerapi.engine.events import EventBus
from dockerapi.local.containers.ledger import Ledger
from dockerapi.local.containers.needs import Images
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.tools import Toolbox
from dockerapi.local.containers.views.listing import Listing
from dockerapi.local.containers.views.sizes import ContainerSizes
from dockerapi.local.journal import Journal
from dockerapi.local.layout import Layout


class Foundation:
    """The parts that know of no other part.

    :ivar registry: finds containers.
    :ivar images: what they are made of.
    :ivar places: finds their directories and what their monitors were told.
    :ivar toolbox: the programs that run them.
    :ivar sizes: measures them.
    :ivar listing: lists them.
    :ivar ledger: commits and tells what changes in them.
    """

    def __init__(
        self,
        registry: Registry,
        images: Images,
        layout: Layout,
        journal: Journal,
        events: EventBus,
    ) -> None:
        self.registry = registry
        self.images = images
        self.places = Places(layout, images)
        self.toolbox = Toolbox()
        self.sizes = ContainerSizes(self.places, images)
        self.listing = Listing(registry, self.sizes, images)
        self.ledger = Ledger(journal, registry, events, self.listing.forget)
