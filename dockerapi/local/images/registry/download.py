"""Downloading one blob: resumed and tried again, verified, kept once whoever asks for it.

Rule: a blob is kept only after its digest was right.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from dockerapi.engine.errors import EngineError
from dockerapi.local.images.content import BATCH, BadContent, Content, Receiver
from dockerapi.local.images.registry.client import RegistryClient, Unreachable
from dockerapi.local.images.registry.manifests import Descriptor
from dockerapi.wire.duplex import StreamAborted

ATTEMPTS = 5
#: Seconds before the second attempt; doubled for each further one.
_PAUSE = 0.5

log = Logger()


async def download(
    client: RegistryClient,
    blob: Descriptor,
    content: Content,
    clock: IReactorTime,
    progress: Callable[[int], None],
) -> None:
    """Bring `blob` here; it is there already where someone else was faster.

    Raises `BadContent` for a wrong digest or size, `NotFound`, `EngineError` after the last
    attempt.
    """
    async with content.alone(blob.digest):
        if content.has_blob(blob.digest):
            return
        async with content.receiver() as receiver:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await _transfer(client, blob, receiver, progress)
                    break
                except (StreamAborted, Unreachable) as error:
                    if attempt == ATTEMPTS:
                        raise EngineError(f"downloading {blob.digest} failed: {error}") from error
                    log.info("downloading {d} broke off: {e}", d=blob.digest, e=error)
                await deferLater(clock, _PAUSE * 2 ** (attempt - 1))
            await receiver.keep(blob.digest)


async def _transfer(
    client: RegistryClient,
    blob: Descriptor,
    receiver: Receiver,
    progress: Callable[[int], None],
) -> None:
    body, position = await client.blob(blob.digest, receiver.size)
    try:
        if position != receiver.size:
            await receiver.restart()
        while data := await body.read(BATCH):
            await receiver.write(data)
            if receiver.size > blob.size:
                raise BadContent(f"filesystem layer verification failed for digest {blob.digest}")
            progress(receiver.size)
    finally:
        body.abort("given up")
    if receiver.size < blob.size:
        raise StreamAborted(f"{receiver.size} of {blob.size} bytes came")
