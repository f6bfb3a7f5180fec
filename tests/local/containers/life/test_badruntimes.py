"""Runtimes that hang, are not there, or end without a word."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.runtime import conmon
from tests.local.containers.support import Rig


class BadRuntimeTests(TestCase):
    """Programs that are taken for runtimes."""

    timeout = 120

    async def test_it_is_given_up_and_the_container_can_be_removed(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        program = directory.absolute() / "slow"
        program.write_text('#!/bin/sh\ncase "$*" in *create*) exec sleep 1000;; esac\n')
        program.chmod(0o755)
        rig = Rig(runtimes={"slow": str(program)})
        await rig.start()
        self.addCleanup(rig.close)
        await rig.create("true", name="hangs", host={"Runtime": "slow"})
        # Not before: the others are tried as the engine starts.
        self.patch(conmon, "PATIENCE", 0.5)
        try:
            await rig.job("ContainerStart", "hangs")
        except EngineError as error:
            self.assertIn("did not make a process within 0.5 s", error.message)
        else:
            raise self.failureException("it was started")
        await rig.job("ContainerDelete", "hangs")

    async def test_one_that_is_not_there(self) -> None:
        rig = Rig(runtimes={"path": "/nosuch/runtime", "name": "nosuchruntime"})
        await rig.start()
        self.addCleanup(rig.close)
        for name, why in (
            ("path", "fork/exec /nosuch/runtime: no such file or directory"),
            ("name", 'exec: "nosuchruntime": executable file not found in $PATH'),
        ):
            await rig.create("true", name=name, host={"Runtime": name})
            with self.assertRaises(InvalidParameter) as refused:
                await rig.job("ContainerStart", name)
            self.assertTrue(refused.exception.message.endswith(why), refused.exception.message)
            state = (await rig.job("ContainerInspect", name))["State"]
            self.assertEqual((state["Status"], state["ExitCode"]), ("created", 127))
            waited = await rig.job("ContainerWait", name, query="condition=not-running")
            self.assertEqual(waited, {"StatusCode": 127, "Error": {"Message": state["Error"]}})
            await rig.job("ContainerDelete", name)

    async def test_how_one_ended_that_said_nothing_is_told(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        program = directory.absolute() / "mortal"
        # As it is tried it works; later it is killed, as for lack of memory.
        program.write_text(
            '#!/bin/sh\ncase "$*" in *create*"/c/"*) kill -9 $$;; esac\nexec crun "$@"\n'
        )
        program.chmod(0o755)
        rig = Rig(runtimes={"mortal": str(program)})
        await rig.start()
        self.addCleanup(rig.close)
        for terminal in (False, True):
            made = await rig.create("true", Tty=terminal, host={"Runtime": "mortal"})
            try:
                await rig.job("ContainerStart", made["Id"])
            except EngineError as error:
                self.assertIn("it ended without a word, with status 1", error.message)
            else:
                raise self.failureException("it was started")
