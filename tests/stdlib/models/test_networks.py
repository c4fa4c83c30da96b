import numpy as np
import pytest
import torch
from torch.nn.functional import softmax

import stdlib.models
from stdlib import train
from stdlib.models import networks


def test_standardised_columns_have_mean_zero_and_deviation_one(data):
    features = torch.tensor(data["digits"].features)
    for size in (64, 1):
        standardise = networks.Standardise(size)
        standardise.measure(features)
        columns = standardise(features).reshape(-1, size)
        varied = columns.std(dim=0) > 0
        torch.testing.assert_close(columns.mean(dim=0), torch.zeros(size), atol=1e-4, rtol=0)
        torch.testing.assert_close(
            columns.std(dim=0, correction=0)[varied], torch.ones(int(varied.sum())), atol=1e-4, rtol=0
        )


def test_prediction_does_not_depend_on_how_many_rows_come_at_once(data, trained, monkeypatch):
    model, features = trained(("digits", "mlp")), data["digits"].features
    whole = stdlib.models.predict(model, features)
    monkeypatch.setattr(networks, "_PREDICT_ROWS", 100)
    np.testing.assert_allclose(stdlib.models.predict(model, features), whole, atol=1e-6)


def test_training_leaves_the_callers_random_numbers_alone(data):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train.mlp(data["iris"], epochs=1)
    torch.testing.assert_close(torch.rand(3), expected, atol=0, rtol=0)


def test_a_loss_that_is_no_number_is_refused(data):
    with pytest.raises(ValueError, match=r"the loss is .* after epoch \d+: lower `learning_rate` \(1e\+30\)"):
        train.mlp(data["iris"], layers=3, learning_rate=1e30)


def test_a_perceptron_is_what_its_arrays_say(data, trained):
    """Computed by hand in float64 from the state alone."""
    model, features = trained(("iris", "mlp")), data["iris"].features
    state = model.state
    values = (features - state["standardise.mean"]) / state["standardise.scale"]
    for layer in (0, 2, 4):
        values = values @ state[f"body.{layer}.weight"].T.astype(np.float64) + state[f"body.{layer}.bias"]
        values = np.maximum(values, 0) if layer < 4 else values
    expected = softmax(torch.tensor(values), dim=1).numpy()
    np.testing.assert_allclose(stdlib.models.predict(model, features), expected, atol=1e-6)


def test_rows_that_are_no_square_image_are_refused(data):
    iris = data["iris"]
    three = type(iris)(iris.features[:, :3], iris.target, iris.feature_names[:3], iris.classes)
    with pytest.raises(ValueError, match="a square image of 2 by 2 pixels or more, got 3 columns"):
        train.cnn(three)


def test_a_convolution_looks_at_the_image_row_by_row(data, trained):
    """The first layer of the export equals a convolution of the 8 by 8 image by hand."""
    state, image = trained(("digits", "cnn")).state, data["digits"].features[0].reshape(8, 8)
    padded = np.pad((image - state["standardise.mean"]) / state["standardise.scale"], 1)
    kernel, bias = state["body.1.weight"][0, 0], state["body.1.bias"][0]
    by_hand = [[(padded[i : i + 3, j : j + 3] * kernel).sum() + bias for j in range(8)] for i in range(8)]
    network = stdlib.models.cnn._network_of(trained(("digits", "cnn")))
    networks._load(network, trained(("digits", "cnn")))
    with torch.no_grad():
        scaled = network.standardise(torch.tensor(image.reshape(1, 64)))
        first = network.body[1](network.body[0](scaled))[0, 0]
    np.testing.assert_allclose(first, by_hand, atol=1e-5)
