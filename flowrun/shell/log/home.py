"""The state folder of a project."""

from __future__ import annotations

from pathlib import Path

from flowc.plan.diagnostics import Place, refuse
from flowrun.shell.store.artifacts import Store


class Home:
    """The state folder of a project, `.flow` by default: run log, artifacts, node logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "artifacts")

    def prepare(self) -> Path:
        """Make the folder; the file for what imports print. `Refused` (FR305) if that is not possible."""
        log = self.folder / "zygote.log"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            log.open("a").close()
        except OSError as error:
            hint = "see to its permissions and the disk, or name another folder with --state"
            refuse("FR305", f"the state folder cannot be used: {error.strerror}", Place(str(log)), hint=hint)
        return log

    def run_folder(self, run: str) -> Path:
        """Where a run's plan and node logs lie."""
        return self.folder / "runs" / run
