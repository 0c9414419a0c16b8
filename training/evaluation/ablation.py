"""An ablation: which students are distilled, and which are compared with which."""

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from training.config import DistillConfig, Fraction, load_config
from training.student.files import Example
from training.yaml_files import read_yaml, validated

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Changes = list[str]  # of the recipe, as `key=value`


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Arm(_Part):
    """One way to distil."""

    changes: Changes = []
    shuffle: Fraction = Field(0.0, description="share of the rationales that move to another row")


class DataSet(_Part):
    """What students are distilled on: a recipe, and changes of it that all arms share."""

    recipe: Path = Field(description="path of the recipe, relative to the plan's file")
    changes: Changes = []


class PlannedComparison(_Part):
    """Arms against a baseline, on the same test rows and with the same seeds."""

    title: str
    datasets: list[Name] = Field(min_length=1)
    baseline: Name
    arms: list[Name] = Field(min_length=1)


@dataclass(frozen=True)
class Cell:
    """One student: an arm, on a data set, with a seed."""

    dataset: str
    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.arm}/seed-{self.seed}"


class Ablation(_Part):
    """A plan of students: every arm of a comparison, on its data sets, with every seed."""

    seeds: list[int] = Field(min_length=1)
    datasets: dict[Name, DataSet] = Field(min_length=1)
    arms: dict[Name, Arm] = Field(min_length=1)
    comparisons: list[PlannedComparison] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for comparison in self.comparisons:
            where = f"comparisons: {comparison.title}"
            for name in comparison.datasets:
                if name not in self.datasets:
                    raise ValueError(f"{where}: {name!r} is none of the datasets")
            for name in (comparison.baseline, *comparison.arms):
                if name not in self.arms:
                    raise ValueError(f"{where}: {name!r} is none of the arms")
            if comparison.baseline in comparison.arms:
                raise ValueError(f"{where}: the baseline {comparison.baseline} is one of its arms")
        return self

    def cells(self) -> list[Cell]:
        """All cells. Those of the first seed come first: a stopped ablation can be compared too."""
        wanted = {
            (dataset, arm)
            for comparison in self.comparisons
            for dataset in comparison.datasets
            for arm in (comparison.baseline, *comparison.arms)
        }
        return [
            Cell(dataset, arm, seed)
            for seed in self.seeds
            for dataset in self.datasets
            for arm in self.arms
            if (dataset, arm) in wanted
        ]

    def identity(self, cell: Cell) -> dict[str, Any]:
        """Everything that decides a cell's student, except the code."""
        dataset, arm = self.datasets[cell.dataset], self.arms[cell.arm]
        changes = [*dataset.changes, *arm.changes, f"seed={cell.seed}"]
        return {"recipe": read_yaml(dataset.recipe), "changes": changes, "shuffle": arm.shuffle}

    def config(self, cell: Cell, folder: Path) -> DistillConfig:
        """The recipe of a cell's student, written to `folder`. Raises ConfigError."""
        output = f"output_dir={json.dumps(str(folder))}"  # JSON is YAML, whatever the path holds
        recipe = self.datasets[cell.dataset].recipe
        return load_config(recipe, [*self.identity(cell)["changes"], output])


def load_ablation(path: Path) -> Ablation:
    """Reads a plan; its recipes' paths are relative to it. Raises ConfigError."""
    ablation = validated(Ablation, read_yaml(path), path)
    datasets = {
        name: dataset.model_copy(update={"recipe": path.parent / dataset.recipe})
        for name, dataset in ablation.datasets.items()
    }
    return ablation.model_copy(update={"datasets": datasets})


def shuffle_rationales(examples: list[Example], share: float, seed: int) -> list[Example]:
    """Moves a share of the rationales, drawn by `seed`, each to the next of the drawn rows.

    So each drawn rationale leaves its row, and each row keeps its number of rationales. A single
    drawn rationale stays.
    """
    places = [place for place, example in enumerate(examples) if example.rationale is not None]
    drawn = random.Random(seed).sample(places, round(share * len(places)))
    shuffled = list(examples)
    for place, other in zip(drawn, drawn[1:] + drawn[:1], strict=True):
        shuffled[place] = replace(examples[place], rationale=examples[other].rationale)
    return shuffled
