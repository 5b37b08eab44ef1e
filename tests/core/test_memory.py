"""Which errors say that there is no memory left."""

from __future__ import annotations

import pyarrow as pa
import pytest
from support.processes import limited, needs_limits

from tofu_eval.core.memory import check_addresses, is_out_of_memory, say_shortage


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


@pytest.mark.parametrize(
    "said",
    [
        "Unknown error: Failed to launch worker thread: Resource temporarily unavailable",
        "ZSTD_DCtx create failed",
    ],
)
def test_what_arrow_says_of_a_shortage_is_no_damage(said: str) -> None:
    assert is_out_of_memory(pa.ArrowException(said))
    assert is_out_of_memory(OSError(said))
    assert not is_out_of_memory(pa.ArrowInvalid("CRC checksum verification failed"))


@needs_limits
def test_addresses_are_counted_under_a_limit_alone() -> None:
    check_addresses(2**50, "a library")

    def refused() -> str:
        check_addresses(100 << 20, "a library")
        with pytest.raises(MemoryError) as error:
            check_addresses(500 << 20, "a library")
        return str(error.value)

    assert limited(300, refused).startswith("a library takes 500 MiB of addresses, and the limit")
