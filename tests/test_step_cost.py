"""What a step and all it builds on cost: each step once, finished ones only, processor time where it was recorded."""

from __future__ import annotations

import json

from emforce.steps import Step, cost
from emforce.store import Store


def finished(store, step, seconds, cpu_seconds):
    store.run(step.kind, step.key, step.inputs, lambda folder, log: {})
    path = store.folder(step.kind, step.key) / "meta.json"
    meta = json.loads(path.read_text()) | {"seconds": seconds, "cpu_seconds": cpu_seconds}
    if cpu_seconds is None:
        del meta["cpu_seconds"]
    path.write_text(json.dumps(meta))


def test_each_step_counts_once(tmp_path):
    store = Store(tmp_path)
    host = Step("host", "host", {"n": 1})
    images = [Step("image", f"image {i}", {"n": i}, {"host": host}) for i in (1, 2)]
    last = Step("wind", "wind", {}, {f"image {i}": image for i, image in enumerate(images)})
    assert cost([last], store) == "0 of 4 steps, 0.0 min of processor time"
    finished(store, host, 100.0, 60.0)
    for image in images:
        finished(store, image, 300.0, 120.0)
    assert cost([last, *images], store) == "3 of 4 steps, 5.0 min of processor time"
    finished(store, last, 60.0, None)  # as an older emforce left it
    assert cost([last], store) == "4 steps, 6.0 min of wall time"
