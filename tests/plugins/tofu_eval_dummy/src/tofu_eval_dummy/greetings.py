from collections.abc import Iterator

from tofu_eval import task


@task(name="dummy-greetings", version=3, licence="MIT", metrics=("dummy_shout",))
def greetings() -> Iterator[str]:
    for name in ("Ada", "Emmy"):
        yield f"Greet {name}:"
