"""What a person sees while steps run: bars with time left on a terminal, plain lines with a clock elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cfbench.execute.estimate import Estimate, duration
from cfbench.plan import Step


class Bars:
    """Live bars: one for the whole run, one for each running step."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", style="cyan"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._estimate = Estimate()
        self._whole: TaskID | None = None
        self._console = console

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def needed(self, steps: Sequence[Step]) -> None:
        """Show what is left to do."""
        self._estimate.needed(steps)
        if self._whole is None:
            self._whole = self._progress.add_task("[bold]all steps", total=len(steps), left="")
        self._progress.update(self._whole, total=max(len(steps) + self._estimate.finished, 1))
        self._draw_whole()

    def _draw_whole(self) -> None:
        if self._whole is not None:
            self._progress.update(self._whole, completed=self._estimate.finished, left=self._estimate.left())

    def began(self, step: Step) -> None:
        """Show a bar for the step."""
        self._estimate.began(step)
        self._bars[step.key] = self._progress.add_task(_short(step.label), total=None, left="")

    def progress(self, step: Step, done: int, total: int, what: str) -> None:
        """Move the step's bar."""
        self._estimate.progress(step, done, total)
        if step.key in self._bars:
            text = f"{_short(step.label)} [dim]{what}"
            left = self._estimate.left_of(step)
            self._progress.update(self._bars[step.key], completed=done, total=total, description=text, left=left)
        self._draw_whole()

    def ended(self, step: Step, reason: str) -> None:
        """Take the step's bar away; say so if it failed."""
        self._estimate.ended(step)
        if step.key in self._bars:
            self._progress.remove_task(self._bars.pop(step.key))
        if reason:
            self._console.print(f"[red]failed[/] {step.label}: ", end="")
            self._console.print(reason, markup=False, highlight=False)


class Lines:
    """Plain lines with a clock, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._estimate = Estimate()
        self._started = time.monotonic()
        self._last: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def needed(self, steps: Sequence[Step]) -> None:
        """Note what is left to do."""
        self._estimate.needed(steps)

    def began(self, step: Step) -> None:
        """Write that the step begins, if it is a long one."""
        self._estimate.began(step)
        self._last[step.key] = time.monotonic()

    def progress(self, step: Step, done: int, total: int, what: str) -> None:
        """Write how far the step is, every 15 seconds."""
        self._estimate.progress(step, done, total)
        if time.monotonic() - self._last.get(step.key, 0) >= 15:
            self._last[step.key] = time.monotonic()
            self._say(f"{step.label}: {what} {done}/{total}, {self._estimate.left_of(step) or 'just begun'}")

    def ended(self, step: Step, reason: str) -> None:
        """Write that the step is done, or why not."""
        self._estimate.ended(step)
        self._say(f"{step.label}: {'FAILED: ' + reason if reason else 'done'}; all steps: {self._estimate.left()}")

    def _say(self, text: str) -> None:
        clock = duration(time.monotonic() - self._started)
        self._console.print(f"[{clock}] {text}", markup=False, highlight=False, soft_wrap=True)


def make_display(console: Console) -> Bars | Lines:
    """Return bars on a terminal, lines elsewhere."""
    return Bars(console) if console.is_terminal else Lines(console)


def _short(label: str) -> str:
    return label if len(label) <= 58 else f"{label[:57]}…"
