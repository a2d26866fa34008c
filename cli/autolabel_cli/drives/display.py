"""Display of a run's progress on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from autolabel_cli.drives.log_status import LogStatus
from autolabel_cli.drives.run_progress import RunProgress

STAGES = ("uploaded", "submitted", "answered", "labelled", "verified")


class RunDisplay:
    """Progress bars for the stages of a run, and a line for each state that its execution enters.

    Without a terminal, it prints a line each time a count has changed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn("  {task.description:<10}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._stages: dict[str, TaskID] = {}
        self._states_seen = 0
        self._said = ""

    def __enter__(self) -> RunDisplay:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def count(self, stage: str, count: int, total: int | None) -> None:
        """Show the count of a stage. `total`: None while it is unknown."""
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._stages[stage], completed=count, total=total)

    def show(self, progress: RunProgress, uploaded: int | None = None) -> None:
        """Show the progress of a run. `uploaded`: the total of frames until the run knows its own."""
        logs = self._show_logs(progress.logs)
        total = progress.frames if progress.frames is not None else uploaded
        units = total and total * progress.models
        counts = {
            "submitted": progress.submitted,
            "answered": progress.answered,
            "labelled": progress.labelled,
            "verified": progress.verified,
            "by script": progress.scripted,
        }
        for stage, count in counts.items():
            if stage != "by script" or count:
                self.count(stage, count, units if stage in ("submitted", "answered") else total)
        if progress.scripted and not progress.verified:
            # Until the run was published, these frames counted as verified.
            self._bars.update(self._stages["verified"], visible=False)
        for state in progress.states[self._states_seen :]:
            self._console.print(f"  [dim]state[/] {state.name}", highlight=False)
        self._states_seen = len(progress.states)
        if not self._console.is_terminal:
            said = ", ".join(f"{stage} {count}" for stage, count in counts.items() if count)
            said = ", ".join(filter(None, (logs, said, progress.rejections)))
            if said and said != self._said:
                self._console.print(f"  {said}", highlight=False)
            self._said = said

    def _show_logs(self, logs: Sequence[LogStatus]) -> str:
        """Show how many logs have ended, and the slices of those that are extracted; returns the same in words.

        Without logs, because the run has its listing, nothing of them is shown any more.
        """
        counts = {
            "logs": (sum(log.ended for log in logs), len(logs)),
            "slices": (sum(log.done for log in logs), sum(log.slices for log in logs)),
        }
        for stage, (count, total) in counts.items():
            if total:
                self.count(stage, count, total)
            if stage in self._stages:
                self._bars.update(self._stages[stage], visible=total > 0)
        return ", ".join(f"{stage} {count} of {total}" for stage, (count, total) in counts.items() if total)
