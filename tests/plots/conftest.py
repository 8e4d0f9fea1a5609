import io

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from matplotlib.image import imread


@pytest.fixture(scope="session")
def drawn():
    """A figure as it would be saved, [height, width, 3] in [0, 1]; not blank."""

    def render(figure):
        assert isinstance(figure, Figure)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        file.seek(0)
        image = imread(file)[..., :3]
        assert image.std() > 0.05, "a blank page"
        return image

    return render


@pytest.fixture(scope="session")
def shows():
    """Whether a share of an image's pixels has a colour."""

    def near(image, rgb, share=1e-4):
        return (np.abs(image - np.asarray(rgb)).max(axis=-1) < 0.02).mean() > share

    return near
