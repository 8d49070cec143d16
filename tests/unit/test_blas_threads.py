"""No linear algebra runs in several threads, and no library brings some late: bits would differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys

SEVERAL = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
"""What a library takes that is loaded later than the others are pinned."""
LEARNS = """
import json
import os
from threadpoolctl import threadpool_info
from stream_al.active import ActiveStream
stream = ActiveStream(["left", "right"], budget=1.0)
for number in range(60):
    request = stream.push({"x": (-1.0) ** number}, text="some words").request
    if request is not None:
        stream.answer(request, "left" if number % 2 else "right")
print(json.dumps([[each["filepath"], each["num_threads"]] for each in threadpool_info()
                  if each["user_api"] == "blas"]))
"""


def test_every_blas_that_a_model_loads_has_one_thread() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LEARNS], env=os.environ | SEVERAL, capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    assert found
    assert {threads for _, threads in found} == {1}
