"""The default model: small experts of very different kinds under weights that follow the best.

Six experts on dense columns (two kernel machines, two naive Bayes, two linear ones) and three on words.
A group joins with the first answer that has its kind of input, so a task may have columns, words, or
both. Everything learns from answers only; the scale comes from samples of all events.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from stream_al.models.bayes import GaussianBayes
from stream_al.models.expert import Answer, Arrays, DenseExperts, WordExperts
from stream_al.models.fourier import FourierLinear
from stream_al.models.inputs import Inputs
from stream_al.models.kernel import KernelPair
from stream_al.models.linear import ReplayLinear
from stream_al.models.memory import Memory, bounded
from stream_al.models.mixture import FixedShare
from stream_al.models.protocol import F64, State
from stream_al.models.softmax import probabilities
from stream_al.models.word_bayes import WordBayes
from stream_al.models.word_cosine import WordCosine
from stream_al.models.word_linear import WordLinear
from stream_al.models.words import WordRows, no_words


class Group(Protocol):
    """Experts that read one kind of input."""

    size: int

    def grow(self, classes: int) -> None:
        """Make room for more classes."""
        ...

    def widen(self, x: Inputs) -> None:
        """Make room for the columns of an answer."""
        ...

    def logits(self, batch: Inputs) -> F64:
        """Return logits (size, m, width(classes)) of padded rows, or of the one row of an answer."""
        ...

    def learn(self, x: Inputs, label: int, weight: float) -> None:
        """Learn one answer."""
        ...

    def dump(self) -> Arrays:
        """Return the whole state."""
        ...

    def load(self, state: State, classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        ...


class DenseGroup:
    """The six experts on standardised columns, and the memory that they share.

    Parameters
    ----------
    classes, columns, seed : int
    """

    size = 6

    def __init__(self, classes: int, columns: int, seed: int) -> None:
        self._classes = classes
        self._columns = columns
        self._memory = Memory()
        self._memory.grow(columns)
        self._experts: dict[str, DenseExperts] = {
            "kernel": KernelPair(classes, columns),
            "bayes": GaussianBayes(classes, columns),
            "linear": ReplayLinear(classes, columns, seed),
            "fourier": FourierLinear(classes, columns, seed),
        }

    def grow(self, classes: int) -> None:
        """Make room for more classes."""
        self._classes = classes
        for expert in self._experts.values():
            expert.grow(classes, self._columns)

    def widen(self, x: Inputs) -> None:
        """Make room for new columns; they were missing in the answers so far."""
        if x.dense.shape[1] <= self._columns:
            return
        self._columns = x.dense.shape[1]
        self._memory.grow(self._columns)
        self.grow(self._classes)

    def _known(self, z: F64) -> F64:
        """Return the columns that an answer had so far; a column of no answer says nothing yet."""
        if z.shape[1] < self._columns:
            return np.pad(z, ((0, 0), (0, self._columns - z.shape[1])))
        return z[:, : self._columns]

    def logits(self, batch: Inputs) -> F64:
        """Return logits (6, m, width) of m rows."""
        z = self._known(batch.z).astype(np.float32)
        return np.concatenate([expert.logits(z) for expert in self._experts.values()])

    def learn(self, x: Inputs, label: int, weight: float) -> None:
        """Remember one answer; every expert learns it."""
        self._memory.add(x.dense[0], label, weight)
        answer = Answer(x.z, label, weight, self._memory, x.scaler)
        for expert in self._experts.values():
            expert.learn(answer)

    def dump(self) -> Arrays:
        """Return the whole state, ``memory.field`` and ``expert.field``."""
        state = _prefixed("memory", self._memory.dump())
        for name, expert in self._experts.items():
            state |= _prefixed(name, expert.dump())
        return state

    def load(self, state: State, classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        self._classes = classes
        self._memory.load(_without("memory", state))
        self._columns = self._memory.rows.shape[1]
        for name, expert in self._experts.items():
            expert.load(_without(name, state), classes)


class WordGroup:
    """The three experts on words.

    Parameters
    ----------
    classes : int
    bits : int
        There are 2^bits hashed words.
    """

    size = 3

    def __init__(self, classes: int, bits: int) -> None:
        self._bits = bits
        self._experts: dict[str, WordExperts] = {
            "word_bayes": WordBayes(classes, 1 << bits),
            "word_cosine": WordCosine(classes, 1 << bits),
            "word_linear": WordLinear(classes, 1 << bits),
        }

    def grow(self, classes: int) -> None:
        """Make room for more classes."""
        for expert in self._experts.values():
            expert.grow(classes)

    def widen(self, x: Inputs) -> None:
        """Do nothing: hashed words have their columns from the start."""

    def _texts(self, batch: Inputs) -> WordRows:
        return WordRows.of(batch.words or no_words(len(batch.dense), self._bits))

    def logits(self, batch: Inputs) -> F64:
        """Return logits (3, m, width) of m texts."""
        texts = self._texts(batch)
        return np.concatenate([expert.logits(texts) for expert in self._experts.values()])

    def learn(self, x: Inputs, label: int, weight: float) -> None:
        """Learn one answer."""
        text = self._texts(x)
        for expert in self._experts.values():
            expert.learn(text, label, weight)

    def dump(self) -> Arrays:
        """Return the whole state, ``expert.field``."""
        state: Arrays = {"words.bits": np.array(self._bits)}
        for name, expert in self._experts.items():
            state |= _prefixed(name, expert.dump())
        return state

    def load(self, state: State, classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        for name, expert in self._experts.items():
            expert.load(_without(name, state), classes)


class Pool:
    """The pool of experts, an :class:`~stream_al.models.protocol.OnlineModel`.

    Parameters
    ----------
    classes : int
        Classes known at the start, 0 or more.
    seed : int
        Draws the waves of the Fourier expert and the rows that the linear one replays.

    Notes
    -----
    Weights of answers are cut to [0.001, 10]. Columns may be added and never taken away.
    """

    def __init__(self, classes: int, seed: int) -> None:
        self._classes = classes
        self._seed = seed
        self._learned = 0
        self._groups: dict[str, Group] = {}
        self._mixture = FixedShare()
        self._said: tuple[Inputs, F64] | None = None

    @property
    def classes(self) -> int:
        """Classes known."""
        return self._classes

    @property
    def fitted(self) -> bool:
        """Whether anything was learned."""
        return self._learned > 0

    @property
    def expert_weights(self) -> F64:
        """Weights of the experts in the order of :meth:`members`, summing to 1."""
        return self._mixture.weights.copy()

    def grow(self, classes: int) -> None:
        """Make room for more classes, with zero columns everywhere."""
        if classes <= self._classes:
            return
        self._classes = classes
        self._said = None
        for group in self._groups.values():
            group.grow(classes)

    def members(self, batch: Inputs) -> F64 | None:
        """Return the experts' probabilities (experts, m, classes); None before the first answer.

        What was said of the last batch is kept: a committee's score asks for it again, and so does the
        answer that was judged just before it is learned.
        """
        if not self._groups:
            return None
        if self._said is None or self._said[0] is not batch:
            logits = [group.logits(batch) for group in self._groups.values()]
            joined = logits[0] if len(logits) == 1 else np.concatenate(logits)
            proba = probabilities(joined, self._classes)
            proba.flags.writeable = False  # whoever asks again must find what was said
            self._said = batch, proba
        return self._said[1]

    def predict_proba(self, batch: Inputs) -> F64:
        """Return probabilities (m, classes); uniform before the first answer."""
        members = self.members(batch)
        if members is None or self._classes < 2:
            return np.full((len(batch.dense), self._classes), 1.0 / max(1, self._classes))
        return self._mixture.mix(members)

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        """Learn one answer: first the weights, by what each expert said, then every expert."""
        self._learned += 1
        self._join(x)
        weight = bounded(weight)
        members = self.members(x)
        if members is not None:
            self._mixture.update(members[:, 0, y], weight)
        self._said = None
        for group in self._groups.values():
            group.widen(x)
            group.learn(x, y, weight)

    def _join(self, x: Inputs) -> None:
        """Let in the groups whose kind of input appears for the first time."""
        columns = x.dense.shape[1]
        if "dense" not in self._groups and columns:
            self._groups["dense"] = DenseGroup(self._classes, columns, self._seed)
            self._said = None
            self._mixture.join(DenseGroup.size)
        if "words" not in self._groups and x.words is not None:
            self._groups["words"] = WordGroup(self._classes, x.words.bits)
            self._said = None
            self._mixture.join(WordGroup.size)

    def observe(self, x: Inputs, weight: float) -> None:
        """Do nothing: the scale, the only use made of samples, is the learner's."""

    def dump(self) -> State:
        """Return the whole state, named ``expert.field``."""
        state: Arrays = {
            "pool.classes": np.array(self._classes),
            "pool.learned": np.array(self._learned),
            "pool.groups": np.array(list(self._groups), dtype="U8"),
            "pool.weights": self._mixture.weights.copy(),
        }
        for group in self._groups.values():
            state |= group.dump()
        return state

    def load(self, state: State) -> None:
        """Take over what :meth:`dump` of a pool with the same seed returned."""
        self._classes = int(state["pool.classes"])
        self._learned = int(state["pool.learned"])
        self._said = None
        self._mixture.weights = state["pool.weights"].copy()
        self._groups = {}
        for name in state["pool.groups"].tolist():
            group: Group
            if name == "dense":
                columns = state["memory.rows"].shape[1]
                group = DenseGroup(self._classes, columns, self._seed)
            else:
                group = WordGroup(self._classes, int(state["words.bits"]))
            group.load(state, self._classes)
            self._groups[name] = group


def _prefixed(name: str, state: Arrays) -> Arrays:
    return {f"{name}.{field}": array for field, array in state.items()}


def _without(name: str, state: State) -> Arrays:
    start = f"{name}."
    return {key.removeprefix(start): array for key, array in state.items() if key.startswith(start)}
