"""The restart policies: whether a container that ended starts again, and after which pause.

Source: dockerd's restart manager. Rule: the policy is pure; `Restarter` only holds the alarms.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.container import Container, State
from dockerapi.model.containers import RestartPolicy

_POLICIES = ("", "no", "always", "on-failure", "unless-stopped")
#: The first pause and the longest, in seconds; in between each is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0
#: A container that ran for so long begins with the first pause again, in seconds.
LASTING = 10.0


def check_policy(policy: RestartPolicy) -> None:
    """Raise `InvalidParameter` in dockerd's words for a policy that there is not."""
    if policy.name not in _POLICIES:
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{policy.name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if policy.name != "on-failure" and policy.maximum_retry_count:
        negative = " and cannot be negative" if policy.maximum_retry_count < 0 else ""
        raise InvalidParameter(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
            f"{negative}"
        )
    if policy.maximum_retry_count < 0:
        raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")


def wants_restart(policy: RestartPolicy, state: State) -> bool:
    """Tell whether `policy` starts a container that ended with `state` when the server starts."""
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return not state.by_hand
    limit = policy.maximum_retry_count
    return (
        policy.name == "on-failure"
        and not state.by_hand
        and state.exit_code != 0
        and (limit == 0 or state.restarts < limit)
    )


def next_pause(last: float, lasted: float) -> float:
    """Return the pause before a restart: `last` was the one before (0 for none).

    `lasted` is how long the container ran; all in seconds.
    """
    if last == 0 or lasted >= LASTING:
        return FIRST_PAUSE
    return min(last * 2, LONGEST_PAUSE)


class Restarter:
    """The containers that wait to be started again.

    :ivar start: called with a container when its time has come.
    """

    def __init__(self, clock: IReactorTime, start: Callable[[Container], None]) -> None:
        self._clock = clock
        self._start = start
        self._pauses: dict[str, float] = {}
        self._alarms: dict[str, IDelayedCall] = {}

    def schedule(self, container: Container, lasted: float) -> None:
        """Start `container`, which ran for `lasted` seconds, again after its pause.

        One that waits already waits on: a server that starts may find its end, and its policy.
        """
        if container.id in self._alarms:
            return
        pause = next_pause(self._pauses.get(container.id, 0.0), lasted)
        self._pauses[container.id] = pause
        self._alarms[container.id] = self._clock.callLater(pause, self._ring, container)

    def forget(self, container: Container) -> None:
        """Start `container` no more: a client has stopped, started or removed it."""
        self._pauses.pop(container.id, None)
        alarm = self._alarms.pop(container.id, None)
        if alarm is not None:
            alarm.cancel()

    def stop(self) -> None:
        """Start nothing any more."""
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()

    def _ring(self, container: Container) -> None:
        del self._alarms[container.id]
        self._start(container)
