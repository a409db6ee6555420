"""Put a finished run's model into the package, in half precision, with the files that its model card rests on.

    python scripts/ship_weights.py runs/record/thimble-78k-seed0 thimble-78k

writes src/thimble/weights/NAME.safetensors and, under docs/NAME/, the run's own logs and the evaluations of what is
shipped. The weights in half precision are compared with the run's on the test images; where more than --tolerance of
the accuracy is lost, nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path

from thimble.data.sources import load_dataset
from thimble.errors import UserError
from thimble.measuring.evaluation import evaluate
from thimble.measuring.inference import infer
from thimble.storage.weights import WEIGHTS_FILE, load_weights, save_weights

ROOT = Path(__file__).parent.parent
LOGS = ("config.json", "environment.json", "metrics.csv", "training_logs.md")


def main() -> int:
    """Compare, then write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("name", help="the name to ship it under")
    parser.add_argument("--data-dir", type=Path, help="folder that holds cifar-10-batches-bin/")
    parser.add_argument("--tolerance", type=float, default=0.0005, help="most accuracy to lose, 0..1")
    options = parser.parse_args()
    try:
        model, metadata = load_weights(options.run / WEIGHTS_FILE)
        test = load_dataset(metadata["recipe"]["data"], "test", options.data_dir)
    except UserError as error:
        print(f"ship_weights: {error}", file=sys.stderr)
        return 2
    docs = ROOT / "docs" / options.name
    docs.mkdir(parents=True, exist_ok=True)
    # Everything that save_weights writes itself stays out; it would be of the older file.
    ours = {"recipe", "data", "metrics", "teacher_sha256"}
    kept = {key: value for key, value in metadata.items() if key in ours}
    draft = docs / WEIGHTS_FILE
    save_weights(draft, model, kept, half=True)
    shipped = load_weights(draft)[0]
    full, half = evaluate(model, test), evaluate(shipped, test)
    answers = [infer(each, test.images, mean=each.mean, std=each.std).argmax(1) for each in (model, shipped)]
    changed = int((answers[0] != answers[1]).sum())
    print(f"float32 {full.accuracy:.2%}, half {half.accuracy:.2%}, {changed} of {len(test)} answers differ")
    if full.accuracy - half.accuracy > options.tolerance:
        draft.unlink()
        print(f"ship_weights: half precision loses more than {options.tolerance:.2%}; not shipped", file=sys.stderr)
        return 1
    file = ROOT / "src" / "thimble" / "weights" / f"{options.name}.safetensors"
    draft.replace(file)
    for log in LOGS:
        shutil.copy(options.run / log, docs / log)
    flip = evaluate(shipped, test, flip=True)
    for ending, result in (("", half), ("_flip", flip), ("_float32", full)):
        (docs / f"evaluation{ending}.json").write_text(json.dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
    print(f"{file.stat().st_size:,} bytes, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
    print(f"flip {flip.accuracy:.2%}; now write {docs / 'README.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
