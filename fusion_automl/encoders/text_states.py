"""What the lower layers of a pretrained text transformer say about each token: what `text_lora` learns from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained
from fusion_automl.encoders.sequences import Sequences, check_size
from fusion_automl.encoders.table_text import TableColumns, table_columns, table_sentences
from fusion_automl.errors import OutOfTime

if TYPE_CHECKING:
    from fusion_automl.encoders.pretrained_text import FrozenText


@dataclass(frozen=True, slots=True)
class TextStates:
    """The states below the last `layers_above` layers, for the tokens of a row's texts joined by a line break; none for
    a row without any text. With `table` a sentence about the row's cells stands before its texts."""

    modality: ClassVar[Modality] = "text"
    requires: ClassVar[tuple[str, ...]] = ()

    checkpoint: str = pretrained.MINILM
    max_length: int = 128
    layers_above: int = 3
    table: bool = False

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedTextStates:
        """Raises FitError where the states of `data` would fill more than `LARGEST` bytes."""
        if deadline.passed():
            raise OutOfTime("text_states: no time left to start.")
        from fusion_automl.encoders.pretrained_text import FrozenText

        folder = pretrained.find(self.checkpoint, self.modality, deadline=deadline)
        net = FrozenText.read(folder, max_length=self.max_length)
        net.check_layers(self.layers_above)
        columns = data.schema.names("text")
        table = table_columns(data.schema) if self.table else ()
        tokens = net.tokenize(_joined(data.frame, columns, table))
        check_size(sum(map(len, tokens)), net.size)
        return FittedTextStates(net, columns, table, self.layers_above, deadline=deadline, threads=threads)


class FittedTextStates:
    """Its `save` keeps the layers above as well, without which nothing could be made of the states."""

    def __init__(
        self,
        net: FrozenText,
        columns: tuple[str, ...],
        table: TableColumns,
        layers_above: int,
        *,
        deadline: Deadline | None = None,
        threads: int | None = None,
    ) -> None:
        self.net, self.columns, self.table, self.layers_above = net, columns, table, layers_above
        self.deadline, self.threads = deadline or Deadline.never(), threads

    def transform(self, frame: pd.DataFrame) -> Sequences:
        """Raises OutOfTime as soon as it is clear that the rows do not fit before the fit's deadline."""
        from fusion_automl.backbones.nets.base import torch_threads

        with torch_threads(self.threads):
            tokens = self.net.tokenize(_joined(frame, self.columns, self.table))
            found = Sequences.empty(np.array([len(row) for row in tokens], np.int64), self.net.size)
            batches = self.net.run(tokens, skip=self.layers_above, deadline=self.deadline, name="text_states")
            for rows, states_BTD, _ in batches:
                for row, states_TD in zip(rows, states_BTD.half().cpu().numpy(), strict=True):
                    found.row(row)[:] = states_TD[: found.lengths[row]]
        return found

    def save(self, folder: Path) -> None:
        self.net.save(folder)
        values = {
            "columns": self.columns,
            "table": self.table,
            "layers_above": self.layers_above,
            "max_length": self.net.max_length,
        }
        (folder / "state.json").write_text(json.dumps(values))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from fusion_automl.encoders.pretrained_text import FrozenText

        values = json.loads((folder / "state.json").read_text())
        net = FrozenText.load(folder, max_length=values["max_length"])
        table = tuple((name, kind) for name, kind in values.get("table", []))
        return cls(net, tuple(values["columns"]), table, values["layers_above"])


def _joined(frame: pd.DataFrame, columns: tuple[str, ...], table: TableColumns) -> list[str | None]:
    sentences = [table_sentences(frame, table)] if table else []
    rows = zip(*sentences, *(frame[column] for column in columns), strict=True)
    return ["\n".join(text for text in row if isinstance(text, str) and text) or None for row in rows]
