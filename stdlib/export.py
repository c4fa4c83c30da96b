"""Operators that turn a trained model into a served one."""

from pathlib import Path
from typing import TypeVar

from flowc import Array, attempt, operator, project
from flowc.types import Schema
from stdlib.types import Dataset, Model, OnnxModel, Published

C = TypeVar("C", bound=Schema)
# How far an exported probability may be from the trained model's, as in `numpy.isclose`.
TOLERANCE_ABSOLUTE, TOLERANCE_RELATIVE = 1e-5, 1e-4


@operator(memory="1GB")
def to_onnx(model: Model[C], sample: Dataset[C]) -> OnnxModel:
    """Export the model to ONNX, and compare both on the rows of `sample`.

    Probabilities must agree within 1e-5 + 1e-4 of their value, and labels wherever the two most probable
    classes are further apart than that. `ValueError` with the first row that differs, or if there are no
    rows to compare on.
    """
    import numpy as np
    import onnxruntime

    import stdlib.models

    if not sample.rows:
        raise ValueError("there are no rows to compare the exported model on")
    onnx = stdlib.models.to_onnx(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    label, probabilities = session.run(
        ["label", "probabilities"], {"input": np.ascontiguousarray(sample.features)}
    )
    trained = stdlib.models.predict(model, sample.features)
    _require_agreement(trained, label, probabilities)
    largest = float(np.abs(probabilities - trained).max())
    print(f"{len(onnx)} bytes of ONNX; on {sample.rows} rows the largest difference is {largest:.1e}")
    return OnnxModel(model.family, onnx, model.feature_names, model.classes, sample.rows, largest)


# Not what it gives is wanted but what it does, be there a result of an earlier run or not.
@operator(memory="256MB", cache=False)
def publish(model: OnnxModel, name: str, repository: Path = Path("models")) -> Published:
    """Add the model as the next version of `name` to a model repository, a folder laid out as Triton's.

    `repository` is relative to the folder that the run was started in; it is made if need be. The same bytes
    as the newest version's add nothing, so that a retry does no harm. `Refused` (FS105) if the name is no
    name, or the repository cannot be written. A new version says which run and node it is of.
    """
    from flowserve.shell.models import repository as repositories

    by = attempt()
    published = repositories.publish(
        repository,
        name,
        model.onnx,
        labels=model.classes,
        probabilities_output="probabilities",
        origin=repositories.Origin(*by) if by is not None else None,
    )
    path = Path(published.path)
    if path.is_relative_to(project()):
        path = path.relative_to(project())
    print(f"published {published.name} version {published.version}: {path}")
    return Published(published.name, published.version, str(path))


def _require_agreement(trained: Array, label: Array, probabilities: Array) -> None:
    """`ValueError` if an ONNX model's outputs differ from the trained model's [rows, classes]."""
    import numpy as np

    close = np.isclose(probabilities, trained, rtol=TOLERANCE_RELATIVE, atol=TOLERANCE_ABSOLUTE)
    if not close.all():
        row = int(np.argmin(close.all(axis=1)))
        raise ValueError(
            f"row {row}: the exported model gives {probabilities[row]}, the trained one {trained[row]}"
        )
    chosen = trained[np.arange(len(trained)), label]
    tied = np.isclose(chosen, trained.max(axis=1), rtol=TOLERANCE_RELATIVE, atol=TOLERANCE_ABSOLUTE)
    if not tied.all():
        row = int(np.argmin(tied))
        right = int(trained[row].argmax())
        raise ValueError(f"row {row}: the exported model gives class {label[row]}, the trained one {right}")
