"""What is said of actors where there is no Ray, or where nobody asked for it."""

from __future__ import annotations

from typing import Any

import pytest

from tofu_eval.core import ray_actors
from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.features.settings import read_scoring_settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scoring_args": {"actors": 2}}, "--scoring-arg actors says something of --scoring ray"),
        ({"scoring": "ray", "workers": 2}, "Write --scoring-arg actors=2"),
        ({"scoring": "rays"}, "scoring should be 'here' or 'ray', got 'rays'"),
    ],
)
def test_settings_that_contradict_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_scoring_settings(options)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_actors, "has_ray", lambda: False)
    with pytest.raises(MissingDependencyError, match=r"--scoring ray needs .*ray.*tofu-eval\[ray"):
        read_scoring_settings({"scoring": "ray"})
