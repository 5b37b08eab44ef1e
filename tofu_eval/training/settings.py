"""What a user can set on a training: fields of ours, and beside them all of TRL's SFTConfig."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tofu_eval.core.config import make_validated, read_yaml
from tofu_eval.core.errors import ConfigError

RECIPES = files("tofu_eval.training") / "recipes"

Number = Annotated[float, Field(strict=True)]


class Source(BaseModel):
    """A data set and how often each of its rows is taken: 0.5 takes a half of them, 2 all twice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class TrainSettings(BaseModel):
    """One training. `sft` holds the fields of TRL's SFTConfig that were given.

    `data` are one or several data sets. `format` is a prompt format (base, sft, chat or a .jinja
    file); it is saved with the checkpoint; None is chat for conversations on a model with a chat
    template, else sft. `learn` says which turns of the assistant are learnt. `lora` holds fields
    of PEFT's LoraConfig and turns full fine-tuning into LoRA. `early_stopping` is how many
    evaluations in a row may fail to be better than the best before. `watch` is a task whose
    diversity is measured every `watch_every` steps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    data: tuple[Source, ...]
    output: Path
    eval_data: str | dict[str, str] | None = None
    loss: str = "tofu"
    loss_settings: dict[str, Number] = {}
    format: str | None = None
    learn: Literal["all", "last"] = "all"
    lora: dict[str, Any] | None = None
    quantize: Literal["none", "nf4"] = "none"
    early_stopping: int | None = Field(None, ge=1)
    watch: str | None = None
    watch_every: int = Field(100, ge=1)
    watch_metrics: list[str] | None = None
    sft: dict[str, Any] = {}

    @field_validator("data", mode="before")
    @classmethod
    def _list_sources(cls, given: Any) -> Any:
        """One data set or several, each by its name alone or with a weight."""
        several = given if isinstance(given, list | tuple) else [given]
        return [{"path": one} if isinstance(one, str) else one for one in several]


def train_settings(values: Mapping[str, Any]) -> TrainSettings:
    """Settings from one flat mapping, in which SFTConfig's fields stand beside ours.

    Raises:
        ConfigError: a field is missing or wrong. SFTConfig's own are checked when it is made.
    """
    ours = {name: value for name, value in values.items() if name in OURS}
    rest = {name: value for name, value in values.items() if name not in OURS}
    for name, flag in (("model", "--model"), ("data", "--data"), ("output", "--output")):
        if ours.get(name) in (None, [], ()):
            raise ConfigError(f"No {name}. Name it: {flag} …  See: tofu-eval train --help")
    if not isinstance(ours.get("sft", {}), Mapping):
        raise ConfigError(f"sft should be a mapping of SFTConfig's fields, got {ours['sft']!r}.")
    settings = make_validated(TrainSettings, {**ours, "sft": {**ours.get("sft", {}), **rest}}, "")
    for name, value in settings.loss_settings.items():
        if not math.isfinite(value):
            raise ConfigError(f"{settings.loss}: {name} is {value}; expected a finite number.")
    return settings


OURS = tuple(TrainSettings.model_fields)


def read_configs(names: Sequence[str]) -> dict[str, Any]:
    """The fields of config files and named recipes; of a field that stands twice, the last.

    Args:
        names: paths of YAML files, or the names of recipes ("paper").

    Raises:
        ConfigError: there is no such file or recipe, or it is not YAML.
    """
    fields: dict[str, Any] = {}
    for name in names:
        path = Path(name)
        if not path.exists():
            path = Path(str(RECIPES / f"{name}.yaml"))
        if not path.exists():
            named = recipes()
            close = difflib.get_close_matches(name, named, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ConfigError(
                f"There is no config file '{name}', and no recipe of that name.{hint} "
                f"Recipes: {', '.join(named)}"
            )
        fields |= read_yaml(path, "'loss:' and 'learning_rate:'")
    return fields


def recipes() -> list[str]:
    """The named configs that come with the package."""
    return sorted(Path(file.name).stem for file in RECIPES.iterdir() if file.name.endswith(".yaml"))
