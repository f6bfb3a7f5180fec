"""The table of a container's life, without any container."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import Conflict, EngineError, NotModified
from dockerapi.local.containers.container import Container, State, Status
from dockerapi.local.containers.life.restarting import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    next_pause,
    wants_restart,
)
from dockerapi.local.containers.life.transitions import (
    MOVES,
    IllegalMove,
    Operation,
    check,
    moved,
)
from dockerapi.model.containers import ContainerConfig, HostConfig, RestartPolicy

ID = "c" * 64


def a_container(status: Status, *, removing: bool = False) -> Container:
    image = "sha256:" + "0" * 64
    config, host = ContainerConfig(), HostConfig()
    made = Container(ID, "box", 0, "", image, b"", config, host, state=State(status))
    made.removing = removing
    return made


class MovesTests(SynchronousTestCase):
    def test_every_state_has_its_row(self) -> None:
        self.assertEqual(set(MOVES), set(Status))

    def test_a_move_keeps_what_is_not_changed(self) -> None:
        before = State(Status.RUNNING, pid=7, started_at=5)
        after = moved(before, Status.EXITED, pid=0, exit_code=3)
        self.assertEqual(after, State(Status.EXITED, exit_code=3, started_at=5))

    def test_what_cannot_follow_is_a_mistake(self) -> None:
        for first, second in (
            (Status.CREATED, Status.PAUSED),
            (Status.EXITED, Status.PAUSED),
            (Status.REMOVING, Status.RUNNING),
            (Status.DEAD, Status.RUNNING),
        ):
            self.assertRaises(IllegalMove, moved, State(first), second)

    def test_nothing_comes_back_from_removal(self) -> None:
        reached, wave = set(), {Status.REMOVING}
        while wave:
            reached |= wave
            wave = {after for one in wave for after in MOVES[one]} - reached
        self.assertEqual(reached, {Status.REMOVING, Status.DEAD})


class RefusalTests(SynchronousTestCase):
    """Texts and kinds are those of the recorded answers of a current dockerd."""

    def refusal(self, operation: Operation, status: Status, **more: bool) -> tuple[object, str]:
        try:
            check(operation, a_container(status, **more), "cc")
        except EngineError as error:
            return type(error), error.message
        return None, ""

    def test_what_is_refused(self) -> None:
        for operation, status, kind, text in (
            (Operation.START, Status.RUNNING, NotModified, "container is already running"),
            (
                Operation.START,
                Status.PAUSED,
                Conflict,
                "cannot start a paused container, try unpause instead",
            ),
            (Operation.STOP, Status.EXITED, NotModified, "container is already stopped"),
            (
                Operation.KILL,
                Status.CREATED,
                Conflict,
                f"cannot kill container: cc: container {ID} is not running",
            ),
            (Operation.PAUSE, Status.PAUSED, Conflict, f"container {ID} is already paused"),
            (Operation.PAUSE, Status.EXITED, Conflict, f"container {ID} is not running"),
            (Operation.UNPAUSE, Status.RUNNING, EngineError, f"Container {ID} is not paused"),
            (
                Operation.REMOVE,
                Status.RUNNING,
                Conflict,
                'cannot remove container "box": container is running: '
                "stop the container before removing or force remove",
            ),
            (
                Operation.EXEC,
                Status.PAUSED,
                Conflict,
                "Container cc is paused, unpause the container before exec",
            ),
            (
                Operation.EXEC,
                Status.RESTARTING,
                Conflict,
                f"Container {ID} is restarting, wait until the container is running",
            ),
            (Operation.INSIDE, Status.EXITED, Conflict, f"container {ID} is not running"),
        ):
            self.assertEqual(self.refusal(operation, status), (kind, text))

    def test_what_is_allowed(self) -> None:
        for operation, status in (
            (Operation.START, Status.CREATED),
            (Operation.START, Status.EXITED),
            (Operation.STOP, Status.RESTARTING),
            (Operation.KILL, Status.PAUSED),
            (Operation.REMOVE, Status.DEAD),
            (Operation.REMOVE, Status.CREATED),
            (Operation.FORCED_REMOVE, Status.PAUSED),
            (Operation.ATTACH, Status.EXITED),
        ):
            self.assertEqual(self.refusal(operation, status), (None, ""))

    def test_what_is_being_removed_is_not_started(self) -> None:
        self.assertEqual(
            self.refusal(Operation.START, Status.EXITED, removing=True),
            (Conflict, "container is marked for removal and cannot be started"),
        )


class PolicyTests(SynchronousTestCase):
    def wants(self, name: str, limit: int = 0, **state: object) -> bool:
        ended = State(Status.EXITED, **state)  # type: ignore[arg-type]
        return wants_restart(RestartPolicy(name, limit), ended)

    def test_policies(self) -> None:
        self.assertFalse(self.wants("no", exit_code=1))
        self.assertTrue(self.wants("always", exit_code=0, by_hand=True))
        self.assertTrue(self.wants("unless-stopped", exit_code=0))
        self.assertFalse(self.wants("unless-stopped", exit_code=0, by_hand=True))
        self.assertFalse(self.wants("on-failure", exit_code=0))
        self.assertTrue(self.wants("on-failure", exit_code=1, restarts=99))
        self.assertTrue(self.wants("on-failure", 3, exit_code=1, restarts=2))
        self.assertFalse(self.wants("on-failure", 3, exit_code=1, restarts=3))

    def test_pauses_double_until_it_lasts(self) -> None:
        pauses = [0.0]
        for _ in range(12):
            pauses.append(next_pause(pauses[-1], 1.0))
        self.assertEqual(pauses[1:4], [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE])
        self.assertEqual(pauses[-1], LONGEST_PAUSE)
        self.assertEqual(next_pause(pauses[-1], 10.0), FIRST_PAUSE)
