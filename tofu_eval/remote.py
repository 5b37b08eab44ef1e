"""An object in a process of its own, called by name; its memory is free when it is closed.

For what holds a GPU: memory that PyTorch has cached, and its context on the device, are given back
for sure only when their process ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from tofu_eval.child import Child
from tofu_eval.errors import TofuEvalError


class Remote:
    """`make(*arguments, **options)`, made in a child process at the first call.

    Args:
        make: a class or a function of a module; everything it gets can be pickled.
        title: what messages call it, "The engine of 'base'".
        environment: variables to set for the process.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        title: str,
        *arguments: Any,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._recipe = (make, arguments, options)
        self._title = title
        self._environment = environment or {}
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._child.pid if self._child is not None else None

    def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns; after an error the process is ended.

        Raises:
            TofuEvalError: as the method does.
            ModelError: it fails in another way, or its process dies.
        """
        child = self._started()
        try:
            child.send("call", (method, arguments))
            return _heard(child)[1]
        except BaseException:
            self.close()
            raise

    def get(self, attribute: str) -> Any:
        """An attribute of the object, as it is now."""
        return self.call("__getattribute__", attribute)

    def stream(self, method: str, *arguments: Any) -> Iterator[Any]:
        """What the method yields, as it yields it; raises as `call` does."""
        child = self._started()
        try:
            child.send("stream", (method, arguments))
            while (answer := _heard(child))[0] != "end":
                yield answer[1]
        except BaseException:  # half an answer is left in the pipe
            self.close()
            raise

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _started(self) -> Child:
        if self._child is None:
            self._child = Child("tofu_eval.remote", self._title, self._environment)
            try:
                self._child.send("make", self._recipe)
                _heard(self._child)
            except BaseException:
                self.close()
                raise
        return self._child


def _heard(child: Child) -> tuple[str, Any]:
    kind, content = child.receive()
    if kind == "raised":
        raise content
    return kind, content


def serve(pipe: Connection) -> None:
    """In the child: make the object, then answer for it until the other side is gone."""
    made: Any = None
    while True:
        try:
            order, content = pipe.recv()
        except EOFError:
            return
        try:
            if order == "make":
                make, arguments, options = content
                made = make(*arguments, **options)
                pipe.send(("made", None))
            else:
                method, arguments = content
                answer = getattr(made, method)(*arguments)
                if order == "call":
                    pipe.send(("value", answer))
                else:
                    for part in answer:
                        pipe.send(("part", part))
                    pipe.send(("end", None))
        except (BrokenPipeError, ConnectionResetError):
            return
        except TofuEvalError as error:
            pipe.send(("raised", error))
        except BaseException as error:  # noqa: BLE001 - a framework fails in many ways
            pipe.send(("error", f"{type(error).__name__}: {error}"))
