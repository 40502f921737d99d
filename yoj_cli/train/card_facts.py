"""What is known about a trained judge, and its model card is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card is written from.

    Attributes:
        name: the Hub id that it is pushed to, else the folder's name; what `-m` would be given.
        base_model: the backbone's Hub id, 'demo', or a folder.
        reads_media: the backbone reads pictures and clips, not text only.
        recipe: every option with the value that was used.
        data: counts of the training data, under the names of data.json.
        evaluations: the lines of metrics.jsonl that are of held-out groups, in the order of the steps.
        curves: name of the picture beside the card; None where none was drawn.
        versions: of the libraries that trained it.
        seconds: wall time of the last session of the training.
        mode: "multi" or "single", how the responses were read.
        loss: name of the loss.
        against_official: settings that are not those of the released training script: name -> (here, there).
        went_on_from: name of the judge that was trained on; None for a fresh start.
        from_judge: the settings in which this one is as that.
        best_by, best_step: the figure by which the best state was kept, and its step; None where it is the last.
        warnings: what looks wrong about the run, as sentences.
        n_shared: held-out groups that the training data hold too; None where it is not known.
        datasets: Hub ids of the training data.
    """

    name: str
    base_model: str
    reads_media: bool = True
    recipe: Mapping[str, object]
    data: Mapping[str, int | float | str]
    evaluations: Sequence[Mapping[str, float]]
    curves: str | None
    versions: Mapping[str, str]
    seconds: float
    mode: str
    loss: str
    against_official: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    went_on_from: str | None = None
    from_judge: Mapping[str, object] = field(default_factory=dict)
    n_shared: int | None = None
    best_by: str | None = None
    best_step: int | None = None
    warnings: Sequence[str] = ()
    datasets: Sequence[str] = ()

    @property
    def final(self) -> Mapping[str, float]:
        """The evaluation of the weights that are here; empty where there was none."""
        of_step = [line for line in self.evaluations if line.get("step") == self.best_step]
        return (of_step or self.evaluations or [{}])[-1]
