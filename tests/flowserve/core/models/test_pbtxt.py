"""config.pbtxt, as others write it; test_repository checks what is written here against Triton's schema."""

import pytest

from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.model import Model
from flowserve.core.models.pbtxt import (
    ConfigError,
    config_field,
    config_json,
    config_text,
    label_files,
    parse_config,
)
from flowserve.core.models.seat import Seat
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature, TensorSpec


def test_what_is_written_is_read_back():
    name = 'x "quoted"\n\\'
    spec = TensorSpec(name, DATATYPES["FP32"], (-1, 3), labels=("a",))
    config = parse_config(config_text("iris", Signature((), (spec,))))
    assert config_field(config, "name") == "iris"
    assert config["output"][0]["dims"] == [-1, 3]
    assert label_files(config) == {name: "labels.txt"}


def test_the_ways_to_write_the_text_format():
    config = parse_config("""
        name: 'a' "b"  # adjacent strings are one
        max_batch_size: 8;
        output [ { name: "p", dims: [3], label_filename: "l\\x2etxt" }, < name: "q" > ]
        output: { name: "r" dims: 1 dims: 2 }
        dynamic_batching { }
        rate: 1.5e3
        on: true
    """)
    assert config_field(config, "name") == "ab"
    assert config["max_batch_size"] == [8]
    assert [output["name"] for output in config["output"]] == [["p"], ["q"], ["r"]]
    assert config["output"][2]["dims"] == [1, 2]
    assert label_files(config) == {"p": "l.txt"}
    assert (config["dynamic_batching"], config["rate"], config["on"]) == ([{}], [1500.0], [True])


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("name: 'a'\noutput {", 2, "expected a field's name, got `the end`"),
        ("name", 1, "expected `:`, got `the end`"),
        ("name 'a'", 1, "expected `:`"),
        ("a: [1, 2", 1, "expected a value, got `the end`"),
        ("a: 1\n\n}", 3, "expected a field's name, got `}`"),
        ('a: "open', 1, 'unexpected `"`'),
        ("a {" * 100, 1, "nested too deeply"),
    ],
)
def test_what_is_not_text_format(text, line, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_config(text)
    assert caught.value.line == line


def test_a_model_on_a_gpu_says_so():
    settings = ModelSettings(providers="tensorrt", device=1, concurrency=1)
    seat = Seat("gpu:1", 2000, bounded=True)
    said = config_json(Model("m", 1, Signature((), ()), lambda feed, outputs: [], settings, seat=seat))
    assert said["instance_group"] == [{"count": 1, "kind": "KIND_GPU", "gpus": [1]}]
    assert said["parameters"]["providers"] == {"string_value": "tensorrt"}
    assert said["parameters"]["gpu_memory_bytes"] == {"string_value": "2000"}
