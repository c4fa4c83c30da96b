"""What the page shows as an example fits the document's schema, and the model's own reading of it."""

import json

import jsonschema
import pytest

from flowserve.core.catalog.version import Version
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.openapi import document, takes_rows
from flowserve.core.wire.pages import index_page, model_page
from flowserve.core.wire.plain import parse_plain

FP32 = DATATYPES["FP32"]
SHAPES = [(), (-1,), (-1, 3), (2, -1), (1, 2, 0)]


def model(*inputs):
    return Model(
        "m", 1, Signature(inputs, (TensorSpec("y", DATATYPES["FP32"], (-1,)),)), lambda feed, names: []
    )


def version(of):
    return Version(Key(of.name, of.version), of)


def example(page: bytes) -> bytes:
    from html import unescape

    text = page.decode()
    return unescape(text[text.index("<textarea") :].partition(">")[2].partition("</textarea>")[0]).encode()


@pytest.mark.parametrize("datatype", DATATYPES.values(), ids=lambda datatype: datatype.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_example_of_a_page_fits(datatype, shape):
    for inputs in ([("x", shape)], [("a", shape), ("b", shape)]):
        given = model(*(TensorSpec(name, datatype, size) for name, size in inputs))
        body = example(model_page(given))
        operation = json.loads(document([version(given)], "1"))["paths"]["/predict/m"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(json.loads(body), schema)
        assert parse_plain(body, given.signature).feed.keys() == {name for name, _ in inputs}


def test_rows_need_a_first_dimension():
    assert takes_rows(model(TensorSpec("x", FP32, (-1,))))
    assert not takes_rows(model(TensorSpec("x", FP32, (-1,)), TensorSpec("s", FP32, ())))
    assert not takes_rows(model())


def test_whole_numbers_have_their_bounds():
    given = version(model(TensorSpec("x", DATATYPES["INT8"], (-1,))))
    operation = json.loads(document([given], "1"))["paths"]["/predict/m"]["post"]
    assert '"minimum": -128, "maximum": 127' in json.dumps(operation)


def test_pages_say_names_as_text_and_load_nothing():
    odd = Model(
        "a<b>&'\"", 1, Signature((TensorSpec("<script>", DATATYPES["FP32"], (-1,)),), ()), lambda f, n: []
    )
    for page in (model_page(odd), index_page([version(odd)]), index_page([])):
        text = page.decode()
        assert "<b>" not in text
        assert "<script>alert" not in text
        assert text.count("<script>") <= 1
        assert "http:" not in text
        assert "https:" not in text
        assert "src=" not in text


def test_what_is_not_in_memory_is_not_loaded_to_be_described():
    cold = Version(Key("cold", 3))
    operation = json.loads(document([cold], "1"))["paths"]["/predict/cold"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {}
    assert "loaded when it is asked for" in index_page([cold]).decode()
