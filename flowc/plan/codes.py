"""Every diagnostic code, one line each. A code never changes its meaning; a retired one is not used again.

`docs/errors/CODE.md` explains each, with an example that a test runs.
"""

CODES: dict[str, str] = {
    # FC0: tracing a workflow
    "FC001": "the workflow reference is not MODULE:WORKFLOW or PATH.py:WORKFLOW",
    "FC002": "the workflow's module or file is not there",
    "FC003": "the workflow's module does not import",
    "FC004": "the module has no workflow of that name",
    "FC005": "the file lies outside the current folder",
    "FC010": "a future is used as a condition",
    "FC011": "a future is iterated, unpacked or measured",
    "FC012": "a future is compared",
    "FC013": "a future is used as a plain value",
    "FC014": "a future is changed",
    "FC015": "a future is subscripted",
    "FC016": "the value has no such attribute",
    "FC017": "a future is used outside the workflow it belongs to",
    "FC018": "the workflow function raised an exception",
    "FC020": "a call does not match the operator's parameters",
    "FC021": "an argument cannot be written into a plan",
    "FC022": "a worker could not find the operator by name",
    "FC023": "an operator is declared wrongly",
    "FC024": "a workflow is declared wrongly",
    # FC1: types
    "FC101": "an argument has the wrong type",
    "FC102": "an annotation has no meaning in a plan",
    "FC103": "a default has the wrong type",
    # FC2: the plan as a graph and as a file
    "FC201": "the plan file cannot be read or written",
    "FC202": "the file is not a plan of a format version known here",
    "FC203": "a row of the plan is malformed",
    "FC204": "the plan is truncated or its rows do not belong together",
    "FC205": "a node refers to something the plan does not have",
    "FC206": "nodes depend on each other in a circle",
    "FC207": "an edge of the plan has the wrong type",
    "FC209": "the committed plan does not match its source",
    "FC225": "a picture of the plan cannot be written",
    # FC3: resources
    "FC301": "a resource declaration is impossible",
    # FR1: starting a run
    "FR101": "an input is missing",
    "FR102": "the workflow has no such input",
    "FR103": "an input has the wrong type",
    "FR104": "an input is not written as NAME=VALUE",
    "FR110": "a node needs more than the host has",
    "FR111": "the device specification is not valid",
    # FR2: nodes that fail
    "FR201": "an operator raised an exception",
    "FR202": "a node's process died",
    "FR203": "a node took longer than its time limit",
    "FR204": "an operator returned something that cannot be stored",
    "FR205": "an operator returned something other than it declares",
    "FR206": "an operator could not be loaded",
    "FR207": "the worker pool broke",
    # FR3: stored runs
    "FR301": "there is no such run",
    "FR302": "the run has no such node",
    "FR303": "the run is being executed by another process",
    "FR304": "the run belongs to another workflow",
    "FR305": "the state folder cannot be used",
    "FR306": "an artifact is missing or damaged",
    # FS1: models
    "FS101": "the model repository cannot be read",
    "FS102": "a model's folder is not laid out as expected",
    "FS103": "a model does not load",
    "FS104": "the server cannot listen",
    "FS105": "the model cannot be published",
    # FS2: requests
    "FS201": "the request is malformed",
    "FS202": "there is no such model or version",
    "FS203": "an input is missing, unknown or given twice",
    "FS204": "an input has the wrong datatype",
    "FS205": "an input has the wrong shape",
    "FS206": "an input's data does not fit its shape and datatype",
    "FS207": "the model has no such output",
    "FS208": "the request is too large",
    "FS209": "there is no such route or method",
    "FS210": "the model failed while running",
    # FS3: asking from the command line
    "FS301": "the server does not answer",
    "FS302": "the rows are not a JSON array of numbers",
}
