"""The verb predict."""

from __future__ import annotations

import os
from pathlib import Path

from thimble.cli.options import Paths, fail, print_json, say
from thimble.errors import UserError


def predict(images: Paths, model: str = "reference", top: int = 5, csv: Path | None = None, json: bool = False) -> int:
    """Classify images: show the most probable classes of each.

    Args:
        images: Image files (PNG, JPEG, WebP, TIFF, ...) that take at most 600 MB to decode, or folders of them: all
            images in them are classified, also in folders below. If one cannot be read, the others are still
            classified; exit code 2.
        model: A shipped model's name, a weights file or a run folder.
        top: How many classes to show. The table shows one if there are more than 20 images.
        csv: CSV file to write instead of a table: image, class, probability, class_2, probability_2, ...
        json: Print JSON instead of a table.
    """
    if not images:
        raise UserError("no image given: expected thimble predict PATH...")
    from thimble.cli.bars import counted
    from thimble.data.image_paths import images_in
    from thimble.measuring.prediction import predict_files, to_csv
    from thimble.storage.find import load_model
    from thimble.system.files import check_output, write_atomically

    if csv is not None:
        check_output(csv)
    classifier = load_model(model)
    paths: list[Path] = []
    errors: list[UserError] = []

    def failed(error: UserError) -> None:
        errors.append(error)
        fail(str(error), 2)

    for path in images:
        try:
            paths += images_in(path) if os.path.isdir(path) else [path]
        except UserError as error:
            failed(error)
    with counted("images", paths) as steps:
        answers = list(predict_files(steps, classifier, top=top, failed=failed))
    if csv is not None and answers:
        write_atomically(csv, to_csv(answers).encode(errors="backslashreplace"))
    if json:
        print_json([answer.to_dict() for answer in answers])
    elif csv is not None and answers:
        say(f"wrote {csv}: {len(answers):,} images")
    elif answers:
        from thimble.cli.tables import print_predictions

        print_predictions(answers)
    return 2 if errors else 0
