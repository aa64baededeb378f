"""What a training run tells: a progress bar with the time left, TensorBoard curves, and the same figures as
one line of JSON every few steps."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch.utils.tensorboard import SummaryWriter

LOG_EVERY = 25


class TrainingLog:
    """Appends {step, loss, images_s[, validation]} to `path`, and to TensorBoard's events beside it; the loss
    is the mean of the last 25 steps."""

    def __init__(self, path: Path, title: str, steps: int, batch: int, start: int) -> None:
        self.steps, self.batch, self.start = steps, batch, start
        self.losses: list[float] = []
        self.started = time.perf_counter()
        self.file = path.open("a", encoding="utf-8")
        self.curves = SummaryWriter(str(path.parent), purge_step=start)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self.progress = Progress(*columns, TextColumn("loss {task.fields[loss]:.3f}"), *times)
        self.task = self.progress.add_task(title, total=steps, completed=start, loss=float("nan"))

    def __enter__(self) -> TrainingLog:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        self.file.close()
        self.curves.close()

    def record(self, step: int, loss: float, validation: float | None = None) -> None:
        """`step` steps are done; a validation figure is written at once."""
        self.losses = [*self.losses[1 - LOG_EVERY :], loss]
        mean = float(np.mean(self.losses))
        self.progress.update(self.task, completed=step, loss=mean)
        if step % LOG_EVERY and step != self.steps and validation is None:
            return
        images_s = self.batch * (step - self.start) / (time.perf_counter() - self.started)
        row = {"step": step, "loss": round(mean, 4), "images_s": round(images_s, 2)}
        if validation is not None:
            row["validation"] = round(validation, 4)
        for name, value in row.items():
            if name != "step":
                self.curves.add_scalar(name, value, step)
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
