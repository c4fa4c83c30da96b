"""Metrics as their readers read them: with prometheus_client's strict parsers, of both formats."""

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from flowc.plan.exposition import accepts_openmetrics, exposition
from flowserve.core.engine.tally import Tally
from flowserve.core.observe.measures import (
    Logged,
    ModelMeasure,
    ProcessMeasure,
    RolloutMeasure,
    ServerMeasure,
    both,
    measured,
    together,
)
from flowserve.core.observe.metrics import metrics
from flowserve.core.rollout.evidence import Counts, Evidence
from flowserve.core.rollout.plan import Plan, Rollout

ODD = 'm"\\\n'


def asked(name="m", times=1):
    tally = Tally()
    for _ in range(times):
        tally.ran(4, 2.0)
        tally.success(4, 1.0, 2.0, 0)
        tally.answered((7.0, 7.000002, 7.000022, 7.0031, 7.0033, 1.0, 2.0, 1))
    tally.refused(400, "FS205")
    tally.refused(429, "FS220")
    tally.failure(0.5)
    return measured(name, 7, tally)


def server(models, processes=None, gone=ProcessMeasure(0)):  # noqa: B008 - never changes
    processes = processes or {"0": ProcessMeasure(11, 1.5, 2**20, 3, 1, {"http": {200: 5, 400: 1}})}
    return ServerMeasure("1.2", 1.7e9, 4, 2, {"ready": 3, "failed": 1}, processes, gone, models)


def samples(text, read=read_text):
    # prometheus_client gives every counter of the text format the suffix that Triton's do not have.
    return {
        (
            sample.name.removesuffix("_total") if sample.name.startswith("nv_") else sample.name,
            *sorted(sample.labels.items()),
        ): sample.value
        for family in read(text)
        for sample in family.samples
    }


@pytest.fixture(params=["text", "openmetrics"])
def found(request):
    openmetrics = request.param == "openmetrics"
    models = [
        asked(),
        asked(ODD, 3),
        ModelMeasure("idle", 1, tier=2, loads=1, load_ms=20, loaded=1, bytes=99),
    ]
    text = exposition(metrics(server(models)), openmetrics)
    return samples(text, read_openmetrics if openmetrics else read_text)


def test_both_formats_say_the_same(found):
    model, version = ("model", "m"), ("version", "7")
    assert found["flowserve_requests_total", ("code", "200"), model, version] == 1
    assert found["flowserve_requests_total", ("code", "429"), model, version] == 1
    assert found["flowserve_refusals_total", model, ("reason", "FS205"), version] == 1
    assert found["flowserve_rows_total", ("model", ODD), version] == 12
    assert found["flowserve_restarts_total",] == 2
    assert found["flowserve_versions", ("state", "ready")] == 3
    assert found["flowserve_answers_total", ("code", "200"), ("protocol", "http")] == 5
    assert found["flowserve_process_cpu_seconds_total", ("process", "0")] == 1.5
    assert found["flowserve_model_bytes", ("model", "idle"), ("version", "1")] == 99
    assert found["flowserve_model_load_seconds_total", ("model", "idle"), ("version", "1")] == 0.02


def test_stages_are_histograms_in_seconds(found):
    where = ("model", "m"), ("stage", "inference"), ("version", "7")
    name = "flowserve_stage_duration_seconds"
    assert found[f"{name}_sum", *where] == pytest.approx(0.002)
    assert found[f"{name}_count", *where] == 1
    bucket = {
        key[1][1]: value for key, value in found.items() if key[0] == f"{name}_bucket" and key[2:] == where
    }
    assert [bucket[le] for le in ("0.001", "0.0025", "10", "+Inf")] == [0, 1, 1, 1]
    assert found["flowserve_batch_rows_bucket", ("le", "4"), ("model", "m"), ("version", "7")] == 1
    assert found["flowserve_batch_rows_bucket", ("le", "2"), ("model", "m"), ("version", "7")] == 0


def test_triton_s_names_mean_what_they_mean_there(found):
    where = ("model", ODD), ("version", "7")
    assert found["nv_inference_request_success", *where] == 3
    assert found["nv_inference_request_failure", *where] == 2
    assert found["nv_inference_count", *where] == 12
    assert found["nv_inference_exec_count", *where] == 3
    assert found["nv_inference_request_duration_us", *where] == 9900
    assert found["nv_inference_queue_duration_us", *where] == 3000
    assert found["nv_inference_compute_infer_duration_us", *where] == 6000
    # Nobody has asked it, so it is in none of these families.
    assert ("nv_inference_count", ("model", "idle"), ("version", "1")) not in found


def test_rollouts_are_told_by_alias_and_side():
    evidence = Evidence(Counts(10, 1), Counts(4, 0, forced=2, forced_errors=1))
    running = Rollout(1, 2, ("a", "b"), Plan(steps=(5.0, 20.0)), step=1)
    measures = [
        RolloutMeasure("m", "production", running, evidence, {"advance": 1}),
        RolloutMeasure("m", "canary", None, evidence, {"roll back": 3}),
    ]
    measure = msgspec.structs.replace(server([]), rollouts=measures)
    found = samples(exposition(metrics(measure)))
    canary, at = ("alias", "canary"), (("alias", "production"), ("model", "m"))
    assert (found["flowserve_rollout_share", *at], found["flowserve_rollout_step", *at]) == (0.2, 2)
    assert ("flowserve_rollout_share", canary, ("model", "m")) not in found
    asked = {
        (side, outcome): found["flowserve_rollout_requests_total", *at, ("outcome", outcome), ("side", side)]
        for side in ("stable", "candidate")
        for outcome in ("answered", "failed")
    }
    assert list(asked.values()) == [9, 1, 5, 1]
    assert found["flowserve_rollout_verdicts_total", *at, ("verdict", "advance")] == 1
    assert found["flowserve_rollout_verdicts_total", canary, ("model", "m"), ("verdict", "roll back")] == 3


def test_without_stages_there_is_one_histogram_a_version():
    few, many = (exposition(metrics(server([asked()]), stages)) for stages in (False, True))
    assert "flowserve_request_duration_seconds_bucket" in few
    assert "flowserve_stage_duration_seconds" not in few
    assert len(many) > 2 * len(few)


def test_what_is_in_accept_decides():
    prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    assert accepts_openmetrics(prometheus)
    assert not accepts_openmetrics("*/*")


def test_processes_add_up_and_what_is_gone_counts_on():
    dead = ProcessMeasure(
        1, 2.0, 10, 5, 1, {"http": {200: 7}}, {"access": Logged(3, 2, 1)}, [asked(times=2), asked("other")]
    )
    gone = both(both(ProcessMeasure(0), dead), dead)
    assert (gone.cpu_s, gone.resident_bytes, gone.connections) == (4.0, 0, 0)
    living = ProcessMeasure(2, answers={"http": {200: 1}, "grpc": {200: 2}}, models=[asked()])
    models = together([gone.models, living.models])
    assert [(of.name, of.succeeded, of.rows) for of in models] == [("m", 5, 20), ("other", 2, 8)]
    assert models[0].runs == {4: (5, 10.0)}
    assert sum(models[0].request) == 5
    found = samples(exposition(metrics(server(models, {"0": living}, gone))))
    assert found["flowserve_answers_total", ("code", "200"), ("protocol", "http")] == 15
    assert found["flowserve_answers_total", ("code", "200"), ("protocol", "grpc")] == 2
    assert found["flowserve_log_records_total", ("log", "access"), ("outcome", "dropped")] == 4
    assert found["flowserve_requests_total", ("code", "400"), ("model", "m"), ("version", "7")] == 3
