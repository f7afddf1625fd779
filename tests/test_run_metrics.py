"""Scores against sums by hand and against scikit-learn."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from pipeline.run.metrics import (
    NO_CLASS,
    Labels,
    Probabilities,
    confusion_matrix,
    per_class,
    per_class_csv,
    predictions,
    predictions_csv,
    reliability,
    scores,
    surest_mistakes,
)

NAN = float("nan")


def _probabilities(*rows: tuple[float, ...]) -> Probabilities:
    return np.array(rows, dtype=np.float32)


def _labels(*labels: int) -> NDArray[np.uint8]:
    return np.array(labels, dtype=np.uint8)


@st.composite
def _predicted(draw: st.DrawFn) -> tuple[Probabilities, NDArray[np.uint8]]:
    """Random probabilities [n, classes] whose rows sum to 1, and labels among which some classes may be missing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, classes = draw(st.integers(1, 60)), draw(st.integers(2, 12))
    probabilities = random.dirichlet(np.full(classes, draw(st.floats(0.1, 5))), images).astype(np.float32)
    # scikit-learn counts all that is less than 2.2e-16 as 2.2e-16.
    return np.maximum(probabilities, np.float32(1e-12)), random.integers(0, classes, images).astype(np.uint8)


def test_loss_is_the_mean_cross_entropy_in_nats() -> None:
    probabilities = _probabilities((0.5, 0.25, 0.25), (0.125, 0.75, 0.125))
    assert scores(probabilities, _labels(0, 2)).loss == pytest.approx((math.log(2) + math.log(8)) / 2)


def test_an_impossible_label_costs_the_logarithm_of_the_smallest_float32() -> None:
    loss = scores(_probabilities((1.0, 0.0)), _labels(1)).loss
    assert loss == pytest.approx(126 * math.log(2))  # float32's tiny is 2 ** -126


def test_accuracy_is_the_share_of_right_answers() -> None:
    probabilities = _probabilities((0.9, 0.1), (0.2, 0.8), (0.6, 0.4), (0.3, 0.7))
    result = scores(probabilities, _labels(0, 1, 1, 1))
    assert result.accuracy == 0.75


def test_calibration_error_of_two_bins_by_hand() -> None:
    # Bin (14/15, 1]: confidences 0.95 and 0.97, one right of two; bin (9/15, 10/15]: 0.62 and 0.64, both right.
    probabilities = _probabilities((0.95, 0.05), (0.97, 0.03), (0.62, 0.38), (0.36, 0.64))
    error = scores(probabilities, _labels(0, 1, 0, 1)).expected_calibration_error
    assert error == pytest.approx(0.5 * abs(0.5 - 0.96) + 0.5 * abs(1 - 0.63), abs=1e-6)


def test_a_bin_holds_its_upper_edge_and_the_last_one_holds_1() -> None:
    bins = reliability(_probabilities((0.5, 0.5), (0.75, 0.25), (1.0, 0.0)), _labels(0, 0, 0), bins=4)
    assert bins.images.tolist() == [0, 1, 1, 1]
    assert bins.confidence.tolist() == [0, 0.5, 0.75, 1]


def test_a_network_right_as_often_as_it_believes_has_no_calibration_error() -> None:
    probabilities = np.tile(_probabilities((0.75, 0.25)), (4, 1))
    assert scores(probabilities, _labels(0, 0, 0, 1)).expected_calibration_error == 0


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_a_row_that_is_not_finite_is_wrong_and_leaves_no_loss_and_no_calibration(value: float) -> None:
    result = scores(_probabilities((value, 0.1), (0.9, 0.1)), _labels(0, 0))
    assert (result.accuracy, result.loss, result.expected_calibration_error) == (0.5, None, None)


def test_a_row_that_is_not_finite_has_no_class_and_no_cell() -> None:
    predicted = predictions(_probabilities((NAN, NAN), (0.1, 0.9)))
    assert predicted.tolist() == [NO_CLASS, 1]
    assert confusion_matrix(predicted, _labels(0, 1), classes=2).tolist() == [[0, 0], [0, 1]]


def test_of_equal_probabilities_the_first_class_is_predicted() -> None:
    assert predictions(_probabilities((0.2, 0.4, 0.4))).tolist() == [1]


@pytest.mark.parametrize("labels", [_labels(), _labels(0, 1)])
def test_each_image_needs_one_label(labels: Labels) -> None:
    with pytest.raises(ValueError, match="n at least 1"):
        scores(_probabilities((0.5, 0.5)), labels)


def test_rows_of_the_confusion_matrix_are_actual_classes() -> None:
    matrix = confusion_matrix(np.array([1, 1, 0]), _labels(0, 0, 0), classes=2)
    assert matrix.tolist() == [[1, 2], [0, 0]]
    assert matrix.dtype == np.int64


def test_a_confusion_matrix_of_100_classes_does_not_overflow_uint8_labels() -> None:
    matrix = confusion_matrix(np.array([98]), _labels(99), classes=100)
    assert np.argwhere(matrix).tolist() == [[99, 98]]


def test_a_number_that_is_no_class_has_no_cell() -> None:
    with pytest.raises(ValueError, match="invalid entry"):
        confusion_matrix(np.array([2]), _labels(0), classes=2)


def test_per_class_scores_by_hand() -> None:
    result = per_class(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    assert result["precision"].tolist() == [3 / 5, 4 / 5, 0]
    assert result["recall"].tolist() == [3 / 4, 4 / 6, 0]
    assert result["f1"].tolist() == [6 / 9, 8 / 11, 0]
    assert result["support"].tolist() == [4, 6, 0]


def test_surest_mistakes_come_first_and_ties_by_index() -> None:
    probabilities = _probabilities((0.4, 0.6), (0.3, 0.7), (0.8, 0.2), (0.3, 0.7), (0.99, 0.01), (NAN, 0.5))
    labels = _labels(0, 0, 1, 0, 0, 0)
    assert surest_mistakes(probabilities, labels, count=9).tolist() == [2, 1, 3, 0]
    assert surest_mistakes(probabilities, labels, count=2).tolist() == [2, 1]


def test_many_equal_mistakes_stay_in_order() -> None:
    probabilities = np.tile(_probabilities((0.2, 0.8), (0.4, 0.6)), (100, 1))
    order = [*range(0, 200, 2), *range(1, 200, 2)]
    assert surest_mistakes(probabilities, np.zeros(200, dtype=np.uint8), count=200).tolist() == order


def test_without_mistakes_none_is_surest() -> None:
    assert surest_mistakes(_probabilities((0.9, 0.1)), _labels(0), count=5).tolist() == []


@settings(max_examples=40, deadline=None)
@given(_predicted())
def test_scores_agree_with_scikit_learn(predicted: tuple[Probabilities, NDArray[np.uint8]]) -> None:
    probabilities, labels = predicted
    numbers = np.arange(probabilities.shape[1])
    result = scores(probabilities, labels)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    assert result.loss == pytest.approx(log_loss(labels, exact, labels=numbers), rel=1e-5, abs=1e-6)
    assert result.accuracy == pytest.approx(accuracy_score(labels, predictions(probabilities)))


@settings(max_examples=40, deadline=None)
@given(_predicted())
def test_confusion_and_class_scores_agree_with_scikit_learn(
    predicted: tuple[Probabilities, NDArray[np.uint8]],
) -> None:
    probabilities, labels = predicted
    numbers, answers = np.arange(probabilities.shape[1]), predictions(probabilities)
    matrix = confusion_matrix(answers, labels, classes=len(numbers))
    assert np.array_equal(matrix, sklearn_confusion_matrix(labels, answers, labels=numbers))
    ours = per_class(matrix)
    theirs = precision_recall_fscore_support(labels, answers, labels=numbers, zero_division=0)
    for our, their in zip(ours.values(), theirs, strict=True):
        assert our == pytest.approx(their)


@settings(max_examples=40, deadline=None)
@given(_predicted())
def test_calibration_error_is_the_weighted_sum_over_images_taken_one_by_one(
    predicted: tuple[Probabilities, NDArray[np.uint8]],
) -> None:
    probabilities, labels = predicted
    gaps = np.zeros(15)
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        gaps[max(math.ceil(max(row) * 15) - 1, 0)] += (row.index(max(row)) == label) - max(row)
    expected = np.abs(gaps).sum() / len(labels)
    assert scores(probabilities, labels).expected_calibration_error == pytest.approx(expected, abs=1e-12)


def test_predictions_are_written_by_class_name() -> None:
    probabilities = _probabilities((0.25, 0.75), (1 / 3, 2 / 3), (NAN, 0.5))
    assert predictions_csv(probabilities, _labels(1, 0, 0), ["Coat", "Ankle boot"]) == (
        "image,actual,predicted,probability,correct\n"
        "0,Ankle boot,Ankle boot,0.750000,true\n"
        "1,Coat,Ankle boot,0.666667,false\n"
        "2,Coat,,,false\n"
    )


def test_class_names_with_commas_and_quotes_come_back_whole() -> None:
    names = ['T-shirt, "top"', "Coat"]
    text = predictions_csv(_probabilities((0.9, 0.1)), _labels(0), names)
    assert next(csv.DictReader(io.StringIO(text)))["actual"] == names[0]


def test_class_scores_are_written_one_class_a_line() -> None:
    text = per_class_csv(per_class(np.array([[3, 1], [2, 4]])), ["Coat", "Bag"])
    assert text == (
        "class,precision,recall,f1,support\nCoat,0.600000,0.750000,0.666667,4\nBag,0.800000,0.666667,0.727273,6\n"
    )
