"""Which errors say that there is no memory left."""

from __future__ import annotations

from support.processes import limited, needs_limits

from tofu_eval.core.memory import is_out_of_memory, say_shortage


def test_an_import_is_judged_by_what_it_failed_of() -> None:
    error = ImportError("PLEASE READ THIS FOR ADVICE")
    error.__cause__ = ImportError("libopenblas.so: failed to map segment from shared object")
    assert is_out_of_memory(error)
    assert say_shortage(error) == "libopenblas.so: failed to map segment from shared object"
    error.__cause__ = ImportError("libopenblas.so: no such file")
    assert not is_out_of_memory(error)


@needs_limits
def test_an_error_of_c_code_is_a_shortage_under_a_limit_alone() -> None:
    error = SystemError("error return without exception set")
    assert not is_out_of_memory(error)
    assert limited(500, lambda: is_out_of_memory(error))
