"""The verb predict."""

from __future__ import annotations

from thimble.cli.options import Images, fail, print_json
from thimble.errors import UserError


def predict(images: Images, model: str = "reference", top: int = 5, json: bool = False) -> int:
    """Classify images: show the most probable classes of each.

    Args:
        images: Image files (PNG, JPEG, WebP, TIFF, ...) that take at most 600 MB to decode. If one cannot be read, the
            others are still classified; exit code 2.
        model: A shipped model's name, a weights file or a run folder.
        top: How many classes to show.
        json: Print JSON instead of a table.
    """
    if not images:
        raise UserError("no image given: expected thimble predict IMAGE...")
    from thimble.measuring.prediction import predict as predict_images
    from thimble.storage.find import load_model

    classifier = load_model(model)
    answers, code = [], 0
    for image in images:
        try:
            answers += predict_images(image, classifier, top=top)
        except UserError as error:
            code = fail(str(error), 2)
    if json:
        print_json([answer.to_dict() for answer in answers])
    elif answers:
        from thimble.cli.tables import print_predictions

        print_predictions(answers)
    return code
