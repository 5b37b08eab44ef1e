"""Objects in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tofu_eval.core.child_process import Remote
from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import parse_model


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_is_called_by_name_and_its_process_ends() -> None:
    remote = Remote(Counter, "The counter", "abracadabra")
    assert remote.pid is None  # nothing is started before it is needed
    assert remote.call("most_common", 1) == [("a", 5)]
    assert list(remote.stream("elements")) == list(Counter("abracadabra").elements())
    assert remote.get("__class__") is Counter
    pid = remote.pid
    assert pid is not None
    assert pid != os.getpid()
    assert alive(pid)
    remote.close()
    assert not alive(pid)
    assert remote.call("total") == 11  # made anew
    remote.close()


def test_our_errors_arrive_as_they_are() -> None:
    remote = Remote(parse_model, "The parser", "=nothing")
    with pytest.raises(ConfigError) as here:
        parse_model("=nothing")
    with pytest.raises(ConfigError) as there:
        remote.call("anything")
    assert str(there.value) == str(here.value)


def test_other_errors_are_one_line_with_the_title() -> None:
    remote = Remote(Counter, "The counter")
    with pytest.raises(ModelError, match=r"^The counter failed: AttributeError: .*no_such_method"):
        remote.call("no_such_method")


def test_a_killed_process_is_told_and_replaced() -> None:
    remote = Remote(Counter, "The counter", "aab")
    remote.call("total")
    assert remote.pid is not None
    os.kill(remote.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match=r"^The counter was killed \(signal 9\)"):
        remote.call("total")
    assert remote.call("total") == 3
    remote.close()


def test_a_stream_that_is_left_ends_the_process() -> None:
    remote = Remote(Counter, "The counter", "aab")
    stream = remote.stream("elements")
    next(stream)
    stream.close()
    assert remote.pid is None
    assert remote.call("total") == 3
    remote.close()


def test_the_process_does_not_outlive_a_parent_that_is_killed() -> None:
    # It sleeps in a call, so that it does not look at its pipe.
    script = (
        "import threading, time\n"
        "from tofu_eval.core.child_process import Remote\n"
        "remote = Remote(threading.Event, 'The event')\n"
        "remote.call('is_set'); print(remote.pid, flush=True)\n"
        "remote.call('wait', 60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 20
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(pid)
