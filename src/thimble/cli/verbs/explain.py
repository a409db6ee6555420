"""The verb explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from thimble.cli.options import Images, fail, say
from thimble.errors import UserError


def explain(
    images: Images,
    model: str = "reference",
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None,
    output: Path = Path("explanation.png"),
) -> int:
    """Draw which parts of an image made the model choose a class, by Grad-CAM and integrated gradients.

    Args:
        images: Image files, one row each. If one cannot be read, the others are still explained; exit code 2.
        model: A shipped model's name, a weights file or a run folder.
        class_name: The class to explain. Default: the predicted class of each image.
        output: Image file to write; its ending chooses the format.
    """
    if not images:
        raise UserError("no image given: expected thimble explain IMAGE...")
    from thimble.data.image_files import check_picture, save_image
    from thimble.data.pixels import picture_size
    from thimble.explaining.explanation import explain as explain_images
    from thimble.explaining.explanation import find_class
    from thimble.explaining.picture import draw, page_size
    from thimble.storage.find import load_model
    from thimble.system.extras import require

    require("captum", "matplotlib", by="explaining an image", extra="report")  # once, not for every image
    check_picture(output)
    classifier = load_model(model)
    check_picture(output, page_size([picture_size(classifier.input_size[1:])] * len(images)))
    if class_name is not None:
        find_class(classifier, class_name)  # report a wrong name once, not for every image
    explanations, code = [], 0
    for image in images:
        try:
            explanations += explain_images(image, classifier, class_name=class_name)
        except UserError as error:
            code = fail(str(error), 2)
    if explanations:
        from thimble.cli.tables import print_explanations

        save_image(draw(explanations), output)
        print_explanations(explanations)
        say(f"wrote {output}")
    return code
