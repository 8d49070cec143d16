"""What the stream is like: some recent events, as a fold of the reply log.

They are the last 64 samples. A sample is drawn by a coin that knows nothing of the event, stands in the
reply log, and is folded by every replica, so all of them compare with the same 64 at the same model
position, and no cut of the stream changes what an event is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs
from stream_al.models.products import padded_rows, row_product
from stream_al.query.projection import DIMENSIONS, Projection

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Representatives:
    """Recent events of the whole stream at one model position, and what the model says of them.

    Attributes
    ----------
    inputs : Inputs
        ``r = inputs.rows`` of them, padded.
    probabilities : (r, k) float64
        As the model gives them, before recalibration.
    project : Projection
        Embeds them, and what is compared with them.
    """

    inputs: Inputs
    probabilities: F64
    project: Projection

    @cached_property
    def embedded(self) -> F64:
        """Embeddings (r, 64)."""
        return self.project(self.inputs, range(self.inputs.rows))

    @cached_property
    def width(self) -> float:
        """Mean squared distance between two of them: 2d for d independent standardised columns."""
        centred = self.embedded - self.embedded.mean(axis=0)
        r = len(centred)
        return 2.0 * float((centred * centred).sum()) / (r - 1) if r > 1 else 0.0

    def similarity(self, inputs: Inputs) -> F64:
        """Return how alike rows and representatives are: exp(-D / width), D being the squared distance.

        On independent standardised columns this is the Gaussian kernel exp(-D / 2d) of the pool.

        Returns
        -------
        (m, r) float64
            In (0, 1]; a row's bits do not depend on the rows around it.
        """
        count = len(inputs.dense)
        rows = np.zeros((padded_rows(count), DIMENSIONS))
        rows[:count] = self.project(inputs, range(count))
        ours = self.embedded
        exponent = row_product(rows, np.ascontiguousarray(2.0 * ours.T)).astype(np.float64)
        exponent -= (rows * rows).sum(axis=1)[:, None]
        exponent -= (ours * ours).sum(axis=1)
        np.minimum(exponent, 0.0, out=exponent)
        exponent /= max(self.width, 1e-12)
        return np.exp(exponent)[:count]
