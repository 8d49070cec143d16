"""Accuracy figures agree with scikit-learn's, however the rows arrive."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score

from stream_al.monitor.accuracy import ConfusionMatrix, pr_auc, precision_at_1pct


def test_figures_agree_with_scikit_learn_and_ignore_cuts() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(["a", "b", "c"], 500, p=[0.7, 0.2, 0.1]).tolist()
    predicted = [t if keep else str(o) for t, keep, o in zip(
        truth, rng.random(500) < 0.6, rng.choice(["a", "b", "c"], 500), strict=True)]  # fmt: skip
    matrix, whole = ConfusionMatrix(), ConfusionMatrix()
    whole.add(truth, predicted)
    for start in range(0, 500, 7):
        matrix.add(truth[start : start + 7], predicted[start : start + 7])
    assert matrix.total == whole.total == 500
    for found in (matrix, whole):
        assert found.accuracy == pytest.approx(accuracy_score(truth, predicted))
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))
        assert found.kappa == pytest.approx(cohen_kappa_score(truth, predicted))


def test_no_prediction_is_wrong_and_no_truth_is_left_out() -> None:
    matrix = ConfusionMatrix()
    matrix.add(["a", "a", None], [None, "a", "a"])
    matrix.add(["b"], ["z"])  # grows after "no prediction" was counted; z never occurs as truth
    assert matrix.labels == ["a", "b", "z"]
    assert matrix.counts.tolist() == [[1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert matrix.accuracy == pytest.approx(1 / 3)
    assert matrix.balanced_accuracy == pytest.approx(1 / 4)


def test_an_empty_matrix_has_no_figures_and_one_class_has_no_kappa() -> None:
    matrix = ConfusionMatrix()
    matrix.add([], [])
    assert all(math.isnan(v) for v in (matrix.accuracy, matrix.balanced_accuracy, matrix.kappa))
    matrix.add(["a", "a"], ["a", "a"])
    assert (matrix.accuracy, matrix.kappa) == (1.0, 0.0)


def test_unequal_lengths_are_an_error() -> None:
    with pytest.raises(ValueError):
        ConfusionMatrix().add(["a"], [])


def test_pr_auc() -> None:
    assert pr_auc(np.array([True, False, True]), np.array([0.9, 0.5, 0.7])) == 1.0
    assert math.isnan(pr_auc(np.zeros(3, bool), np.arange(3.0)))


def test_precision_at_one_per_cent_takes_the_highest_and_shares_ties() -> None:
    scores = np.arange(300.0)
    assert precision_at_1pct(scores >= 298, scores) == pytest.approx(2 / 3)
    positive = np.arange(200) < 20
    assert precision_at_1pct(positive, np.zeros(200)) == pytest.approx(0.1)
    order = np.random.default_rng(1).permutation(200)
    coarse = np.round(np.random.default_rng(2).random(200), 1)
    assert precision_at_1pct(positive[order], coarse[order]) == pytest.approx(
        precision_at_1pct(positive, coarse)
    )
    assert math.isnan(precision_at_1pct(np.zeros(0, bool), np.zeros(0)))
