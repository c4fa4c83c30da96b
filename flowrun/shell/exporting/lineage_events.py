"""A run as OpenLineage events: a job for the workflow, one for each site; artifacts are data sets."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import dataset_version_dataset, error_message_run, parent_run
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import HttpConfig, HttpTransport

from flowc.plan.model import sources_of
from flowrun.core.changes import AnyChange, Exited, Finish, Opened, Start
from flowrun.core.control import flat
from flowrun.core.model import Failure, RunStatus
from flowrun.core.state import State
from flowrun.core.task import Task

PRODUCER = "https://pypi.org/project/flow-toolchain"
_MOST_REFUSED = 20  # events, after which no more is tried
_ENDS: dict[RunStatus, RunState] = {
    "succeeded": RunState.COMPLETE,
    "failed": RunState.FAIL,
    "cancelled": RunState.ABORT,
    "running": RunState.OTHER,
}


class LineageEvents:
    """Sends an event for each beginning and end."""

    def __init__(self, client: Any, run: str, environment: Mapping[str, str]) -> None:
        self._client = client
        self._run = run
        self._namespace = environment.get("OPENLINEAGE_NAMESPACE") or "flowrun"
        self._id = ""
        self._job = ""
        self._running: dict[str, int] = {}  # attempts, by node
        self._refused = 0
        self._why = ""
        self._over = False

    @classmethod
    def to(cls, target: str, run: str, environment: Mapping[str, str]) -> LineageEvents:
        """Events that go to a URL, or are appended to a file."""
        if target.startswith(("http://", "https://")):
            retry = {"total": 2, "backoff_factor": 0.3, "allowed_methods": ["POST"]}
            transport: Any = HttpTransport(HttpConfig(url=target, timeout=5.0, retry=retry))
        else:
            transport = FileTransport(FileConfig(log_file_path=target, append=True))
        return cls(OpenLineageClient(transport=transport), run, environment)

    def see(self, state: State, change: AnyChange) -> None:
        """A change, which is applied to the state."""
        match change:
            case Opened():
                self._id = _uuid(f"{self._run} {change.at_ms}")
                self._job = state.plan.header.workflow
                self._emit(RunState.START, change.at_ms, self._id, self._job)
            case Start():
                task = state.by_id[change.node]
                self._running[change.node] = change.attempt
                self._of_node(RunState.START, change.at_ms, state, task, change.attempt)
            case Exited() if self._running.get(change.node) == change.attempt:
                del self._running[change.node]
                end = RunState.FAIL if change.failure else RunState.COMPLETE
                task = state.by_id[change.node]
                self._of_node(end, change.at_ms, state, task, change.attempt, change.failure)
            case Finish():
                self._over = True
                self._emit(_ENDS[change.status], change.at_ms, self._id, self._job)
            case _:
                pass

    def close(self, state: State) -> str:
        """End what was interrupted; what went wrong."""
        for node, attempt in self._running.items():
            self._of_node(RunState.ABORT, state.now_ms, state, state.by_id[node], attempt)
        if not self._over:
            self._emit(RunState.ABORT, state.now_ms, self._id, self._job)
        return f"{self._refused} OpenLineage events were not taken: {self._why}" if self._refused else ""

    def _of_node(
        self,
        what: RunState,
        at_ms: int,
        state: State,
        task: Task,
        attempt: int,
        failure: Failure | None = None,
    ) -> None:
        node = task.node.id
        trees = [flat(tree, state.results) for tree in task.node.args.values()]
        refs = dict.fromkeys(ref for tree in trees for ref in sources_of(tree))
        inputs = [self._dataset(InputDataset, state.by_id[ref]) for ref in refs]
        outputs = []
        if what is RunState.COMPLETE and task.artifact is not None:
            outputs = [self._dataset(OutputDataset, task)]
        parent = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=self._id), job=parent_run.Job(namespace=self._namespace, name=self._job)
        )
        facets: dict[str, Any] = {"parent": parent}
        if failure is not None:
            said = f"[{failure.code}] {failure.message}"
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(said, "PYTHON")
        run = _uuid(f"{self._id} {node} {attempt}")
        self._emit(what, at_ms, run, f"{self._job}.{task.site.site}", facets, inputs, outputs)

    def _dataset(self, kind: Any, task: Task) -> Any:
        """What a node gave: a data set named after it, of which the artifact's hash is a version."""
        facets = {}
        if task.artifact is not None:
            version = dataset_version_dataset.DatasetVersionDatasetFacet(task.artifact.hash)
            facets["version"] = version
        return kind(namespace=self._namespace, name=f"{self._job}/{task.node.id}", facets=facets)

    def _emit(
        self,
        what: RunState,
        at_ms: int,
        run: str,
        job: str,
        facets: dict[str, Any] | None = None,
        inputs: list[Any] | None = None,
        outputs: list[Any] | None = None,
    ) -> None:
        if self._refused >= _MOST_REFUSED:
            self._refused += 1
            return
        event = RunEvent(
            eventType=what,
            eventTime=datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(),
            run=Run(run, facets or {}),
            job=Job(self._namespace, job),
            producer=PRODUCER,
            inputs=inputs or [],
            outputs=outputs or [],
        )
        try:
            self._client.emit(event)
        except Exception as error:  # whatever the library raises
            self._refused += 1
            self._why = str(error)[:200]


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"flowrun {name}"))
