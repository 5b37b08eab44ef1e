"""One fault: a command harmed at one moment, the same command again, and what came of it."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.forking import Ended, call, warm
from faults.interpose import MODES
from faults.looking import Wrong, extra_names, names_in
from faults.scenes import Scene

CODES = {
    "kill": {-9},
    "tear": {-9},
    "kill all": {-9},
    "SIGTERM": {143},
    "Ctrl-C": {130},
}
"""How a harmed command may end; by an error of the disk with 2, and with 0 wherever all is done."""

REFUSAL = " exists. Name another --output"


@dataclass(frozen=True)
class Fault:
    """Harm of one kind at the `at`-th operation of a scene's command."""

    scene: str
    mode: str
    at: int

    def __str__(self) -> str:
        return f"{self.scene}:{self.mode}:{self.at}"


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: `word` is "equal" where nothing is lost, else what is wrong."""

    fault: Fault
    word: str
    detail: str
    where: str


@dataclass(frozen=True)
class Whole:
    """What an undisturbed command makes: `operations` is how many moments there are for harm."""

    looked: Any
    names: Counter[str]
    operations: int


class Stage:
    """The folders of one scene: what lies there before its command, and one for each fault."""

    def __init__(self, scene: Scene, folder: Path, model: Path) -> None:
        self.scene, self._folder = scene, folder
        self._ready = folder / "before"
        self._model = model
        self.command = self._with_model(scene.command)

    def _with_model(self, command: Sequence[str]) -> list[str]:
        return [word.replace("MODEL", str(self._model)) for word in command]

    def lay(self) -> None:
        """Make what lies there before the command."""
        work = self._ready / "harm" / "work"
        work.mkdir(parents=True)
        (self._ready / "harm" / "tmp").mkdir()
        self.scene.lay(work)
        for command in self.scene.before:
            if command[0] == "!rm":
                shutil.rmtree(work / command[1])
                continue
            _expect(call(self._ready, self._with_model(command)), {0})

    def warm(self) -> None:
        """Call the command in this process, unless that would start threads that a fork loses."""
        if not self.scene.models and not self.scene.fresh:
            warm(self._copy("warm"), self.command)

    def undisturbed(self) -> Whole:
        """The command as it should be, twice: the second call must change nothing."""
        folder = self._copy("whole")
        ended = _expect(self._call(folder), {0})
        whole = Whole(self._look(folder), names_in(folder / "harm"), ended.seen.count)
        self._expect_again(self._call(folder))
        _compare(self._look(folder), whole.looked, "differs when called again")
        if extra := extra_names(folder / "harm", whole.names):
            raise Wrong("left", f"when called again: {extra[0]}")
        return whole

    def _call(self, folder: Path, **harm: Any) -> Ended:
        scene = self.scene
        return call(folder, self.command, prepare=scene.prepare, fresh=scene.fresh, **harm)

    def _expect_again(self, ended: Ended) -> None:
        """The second call is done, or says that all is there."""
        if not (self.scene.once and ended.code == 2 and REFUSAL in ended.said):
            _expect(ended, {0})

    def _look(self, folder: Path) -> Any:
        return self.scene.look(folder / "harm" / "work")

    def harm(self, fault: Fault, whole: Whole) -> Outcome:
        """Harm the command, call it again, compare."""
        folder = self._copy(f"{fault.mode.replace(' ', '-')}-{fault.at}")
        ended = self._call(folder, mode=fault.mode, at=fault.at)
        where = f"{ended.seen.kind} {Path(ended.seen.path).name}" if ended.seen.fired else "-"
        try:
            self._check_end(fault, ended, folder, whole)
            again = self._call(folder)
            try:
                self._expect_again(again)
            except Wrong as wrong:
                raise Wrong("refused", f"the second call: {wrong}") from wrong
            _compare(self._look(folder), whole.looked, "differs")
            if extra := extra_names(folder / "harm", whole.names):
                raise Wrong("left", ", ".join(extra[:3]))
        except Wrong as wrong:
            return Outcome(fault, wrong.word, str(wrong), where)
        except Exception as error:  # noqa: BLE001 - what cannot be read is damaged
            return Outcome(fault, "damaged", f"{type(error).__name__}: {error}", where)
        shutil.rmtree(folder)
        return Outcome(fault, "equal", "", where)

    def _check_end(self, fault: Fault, ended: Ended, folder: Path, whole: Whole) -> None:
        """How the harmed command ended; with 0 only if all was done all the same."""
        if ended.code is None:
            raise Wrong("hangs", f"after {fault.mode}")
        if "Traceback (most" in ended.said or "Exception ignored" in ended.said:
            raise Wrong("traceback", ended.said[-600:])
        if ended.code == 0:
            _compare(self._look(folder), whole.looked, "says 0, and differs")
        elif ended.code not in CODES.get(fault.mode, {2}) | ({2} if self.scene.children else set()):
            raise Wrong("exit", f"code {ended.code}: {ended.said[-300:]}")

    def _copy(self, name: str) -> Path:
        folder = self._folder / name
        shutil.copytree(self._ready, folder, symlinks=True)
        return folder


def draw_faults(scene: Scene, operations: int, count: int, seed: int) -> list[Fault]:
    """Different faults of a scene, its kinds of harm in turn, moments drawn by the seed."""
    stream = random.Random(f"{seed} {scene.name}")
    modes = list(MODES[1:])
    queues = {mode: stream.sample(range(1, operations + 1), operations) for mode in modes}
    faults: list[Fault] = []
    while len(faults) < count and any(queues.values()):
        for mode in modes:
            if queues[mode] and len(faults) < count:
                faults.append(Fault(scene.name, mode, queues[mode].pop()))
    return faults


def _expect(ended: Ended, codes: set[int]) -> Ended:
    if ended.code not in codes:
        raise Wrong("exit", f"code {ended.code}: {ended.said[-1500:]}")
    return ended


def _compare(found: Any, expected: Any, word: str) -> None:
    if found == expected:
        return
    path = _difference(found, expected)
    raise Wrong("lost" if "fewer" in path else word, path)


def _difference(found: Any, expected: Any, path: str = "") -> str:
    """Where two values first differ, and how."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in [*expected, *found]:
            if key not in found:
                return f"{path}/{key}: fewer"
            if key not in expected:
                return f"{path}/{key}: more"
            if found[key] != expected[key]:
                return _difference(found[key], expected[key], f"{path}/{key}")
    if isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected):
            word = "fewer" if len(found) < len(expected) else "more"
            extra = [x for x in found if x not in expected][:2]
            return f"{path}: {word}, {len(found)} of {len(expected)} {str(extra)[:300]}"
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            if one != other:
                return _difference(one, other, f"{path}/{place}")
    return f"{path}: {str(found)[:200]} and not {str(expected)[:200]}"
