"""Models by name: what is accepted, and what a wrong name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_al.conformance.model import check_model
from stream_al.conformance.model_task import SEED, blobs
from stream_al.errors import ConfigurationError, DataError
from stream_al.models.estimator import frequencies
from stream_al.models.inputs import Inputs, Words
from stream_al.models.pool import Pool
from stream_al.models.protocol import OnlineModel
from stream_al.models.refit import RefitModel
from stream_al.models.registry import make_model

SGD = "sklearn:sklearn.linear_model.SGDClassifier?loss=log_loss"
TREE = "refit:sklearn.tree.DecisionTreeClassifier"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pol", "did you mean 'pool'"),
        ("skelarn:a.b", "did you mean 'sklearn'"),
        ("river:", "river:PATH"),
        ("refit:sklearn.tree.DecisionTreeClasifier", "did you mean sklearn.tree.DecisionTreeClassifier"),
        ("refit:sklearn.svn.SVC", "cannot be imported"),
        ("refit:SVC", "has no module"),
        ("refit:sklearn.svm.SVC?kernell=rbf", "did you mean 'kernel'"),
        ("refit:sklearn.svm.SVC?C=-1", "fails on sixty rows"),
        ("refit:sklearn.svm.SVC?answers=1", "at least 2"),
        ("refit:sklearn.svm.SVC?C", "setting=value"),
        ("sklearn:sklearn.svm.SVC", "partial_fit"),
        ("river:river.preprocessing.StandardScaler", "predict_proba_one"),
        ("no_such_module:make", "cannot be imported"),
        ("math.nothing:x", "cannot be imported"),
    ],
)
def test_wrong_names_are_explained(name: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=r".") as caught:
        make_model(name, 2, 0)
    assert expected in str(caught.value)


def test_settings_are_read_as_literals() -> None:
    model = make_model("refit:sklearn.neighbors.KNeighborsClassifier?n_neighbors=3&weights=distance", 2, 0)
    assert isinstance(model, RefitModel)
    estimator = model._build()
    assert (estimator.n_neighbors, estimator.weights) == (3, "distance")


def test_your_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models").mkdir()
    source = "from stream_al.models.pool import Pool as make\n\ndef wrong(classes, seed):\n    return 1\n"
    (tmp_path / "my_models" / "own.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(make_model("my_models.own:make", 2, 0), Pool)
    with pytest.raises(ConfigurationError, match="no OnlineModel"):
        make_model("my_models.own:wrong", 2, 0)


@pytest.mark.parametrize("name", ["river:river.naive_bayes.GaussianNB", SGD])
def test_what_is_not_dumped_cannot_be_loaded(name: str) -> None:
    model = make_model(name, 2, 0)
    assert model.dump() is None
    with pytest.raises(DataError, match="fold the reply log"):
        model.load({})


def test_one_class_is_its_smoothed_frequency() -> None:
    task = blobs(20, 3, 2)
    model = make_model(TREE, 2, SEED)
    for i in range(8):
        model.learn(task.answer(i), 1, 1.0)
    np.testing.assert_allclose(task.proba(model)[0], frequencies(np.array([0.0, 8.0])))


@pytest.mark.parametrize("name", [SGD, TREE])
def test_words_are_folded_beside_columns(name: str) -> None:
    task = blobs(400, 0, 2, text=True)
    model = make_model(name, 2, SEED)
    task.teach(model, 0, 200)
    picked = np.arange(200, 399)
    assert (task.proba(model, picked).argmax(1) == task.labels[picked]).mean() > 0.8


def test_an_empty_vocabulary_is_no_obstacle() -> None:
    task = blobs(20, 0, 2)
    nothing = Words(np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0), 13)
    for name in ("pool", SGD, TREE):
        model = make_model(name, 2, SEED)
        for y in (0, 1, 0):
            model.learn(Inputs(1, task.rows[:1], task.scaler, nothing), y, 1.0)
        assert np.isfinite(task.proba(model)).all()


class Forgetful(Pool):
    """Breaks a law: scoring changes it."""

    def predict_proba(self, batch: Inputs) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        self._mixture.weights = self._mixture.weights[::-1].copy()
        return super().predict_proba(batch)


def test_the_suite_names_the_law_that_is_broken() -> None:
    def make(classes: int, seed: int) -> OnlineModel:
        return Forgetful(classes, seed)

    with pytest.raises(AssertionError, match="Why: "):
        check_model(make)
