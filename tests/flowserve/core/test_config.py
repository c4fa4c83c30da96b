"""A configuration is read whole or refused with the line that is wrong."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.config import Config, parse_config
from flowserve.core.models.settings import ModelSettings
from flowserve.core.wire.limits import Limits


def test_everything():
    text = 'models = "m"\nhttp = "[::1]:80"\nprocesses = 4\n[limits]\ndrain_s = 2.5\nconnections = 7\n'
    assert parse_config(text, "c.toml") == Config(
        "m", "[::1]:80", processes=4, limits=Limits(connections=7, drain_s=2.5)
    )
    text = 'grpc = "unix:g"\ntls_cert = "c"\ntls_key = "k"\ntokens = "t"\ntrust_network = true\n'
    reached = Config(grpc="unix:g", tls_cert="c", tls_key="k", tokens="t", trust_network=True)
    assert parse_config(text, "c.toml") == reached
    assert parse_config("", "c.toml") == Config()
    rolled = parse_config("[rollout]\nsteps = [10, 100]\nmax_disagreement = 0.1\n", "c.toml").rollout
    assert (rolled.steps, rolled.max_disagreement, rolled.shadow) == ((10.0, 100.0), 0.1, 0.0)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("models = \n", "the configuration is not TOML", "c.toml:1:10"),
        ("\nprocesses = -1\n", "`processes` is wrong: expected `int` >= 0", "c.toml:2:1"),
        ('processes = "2"', "`processes` is wrong: expected `int`, got `str`", "c.toml:1:1"),
        ("proceses = 2", "there is no setting `proceses`", "c.toml:1:1"),
        ("[limits]\ndrain_s = -1", "`limits.drain_s` is wrong: expected `float` > 0.0", "c.toml:2:1"),
        ("[limits]\n\ndrain = 1", "there is no setting `limits.drain`", "c.toml:3:1"),
        ("[rollout]\nmin_requests = 0", "`rollout.min_requests` is wrong: expected `int` >= 1", "c.toml:2:1"),
        (
            "[rollout]\nsteps = [1, 500]",
            "`rollout.steps[1]` is wrong: expected `float` <= 100.0",
            "c.toml:2:1",
        ),
        (
            "[rollout]\nsteps = [5, 1]",
            "`rollout.steps` is wrong: the steps of a rollout must go up",
            "c.toml:2:1",
        ),
        ("[rollout]\nshare = 5", "there is no setting `rollout.share`", "c.toml:2:1"),
        ("[limts]\ndrain_s = 1", "there is no setting `limts`", "c.toml:1"),
        ("[model.m]\ntier = 5", "`model.m.tier` is wrong: expected `int` <= 4", "c.toml:2:1"),
        ("[model.'a.b']\n\nteir = 1", "there is no setting `model.a.b.teir`", "c.toml:3:1"),
        ("[model]\nm = { tier = 0 }", "`model.m.tier` is wrong: expected `int` >= 1", "c.toml:2:1"),
        ("model.m.threads = 0", "`model.m.threads` is wrong: expected `int` >= 1", "c.toml:1:1"),
        ('[model.m]\nbatching = "no"', "`model.m.batching` is wrong: invalid enum value 'no'", "c.toml:2:1"),
        ("[model.m]\nmax_rows = 2\npreferred_rows = 3", "it must be at most `max_rows`", "c.toml:3:1"),
        ("batching = false\n[model.m]\nmax_rows = 2", "there are no batches where", "c.toml:3:1"),
        ("[model.m]\ntimeout_ms_max=1\ntimeout_ms=2", "must be at most `timeout_ms_max`", "c.toml:3:1"),
        ('providers = ["cuda"]', "`providers` is wrong: expected `str`, got `array`", "c.toml:1:1"),
        ('providers = "gpu"', "`providers` is wrong: invalid enum value 'gpu'", "c.toml:1:1"),
        ("[model.m]\ndevice = -1", "`model.m.device` is wrong: expected `int` >= 0", "c.toml:2:1"),
        ('providers = "cuda"\n[model.m]\nfp16 = true', "only TensorRT can be told so", "c.toml:3:1"),
        ('providers = "cpu"\n[model.m]\ntf32 = true', "only CUDA can be told so", "c.toml:3:1"),
        ("[tiers]\nm = 1", "there is no setting `tiers`", "c.toml:1"),
    ],
)
def test_what_is_wrong(text, message, place):
    with pytest.raises(Refused) as caught:
        parse_config(text, "c.toml")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "FS106"
    assert message in diagnostic.message
    assert str(diagnostic.labels[0].place) == place


def test_a_near_name_is_offered():
    with pytest.raises(Refused) as caught:
        parse_config("proceses = 2", "c.toml")
    assert caught.value.diagnostics[0].hint == "`processes` is one"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[model.m]\nbatching = "no"', "it can be `auto`, `off`, `on`"),
        ('[access_log]\nfile = "a"\nformat = "xml"', "it can be `common`, `json`"),
    ],
)
def test_what_a_setting_can_be_is_told(text, hint):
    with pytest.raises(Refused) as caught:
        parse_config(text, "c.toml")
    assert caught.value.diagnostics[0].hint == hint


def test_a_model_has_what_is_said_of_it_then_of_all_others_then_of_the_server():
    text = """
        tier = 3
        batching = false
        providers = "cpu"
        [model."*"]
        queue = 7
        threads = "auto"
        [model.iris]
        batching = "on"
        threads = 2
        providers = "cuda"
        device = 1
    """
    models = parse_config(text, "c.toml").per_model()
    assert models.of("iris") == ModelSettings(
        tier=3, batching="on", queue=7, threads=2, providers="cuda", device=1
    )
    assert models.of("other") == ModelSettings(
        tier=3, batching="off", queue=7, threads="auto", providers="cpu"
    )
