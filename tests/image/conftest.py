"""The image, built once, and what runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from image import building
from image.running import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image.building import Image, Store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Give a store of images."""
    with building.store(tmp_path_factory.mktemp("images") / "store") as store:
        yield store


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of what the image is built from."""
    return building.context(tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="session")
def image(store: Store, context: Path) -> Image:
    """Give the image."""
    return building.built(store, context)


@pytest.fixture
def runtime(image: Image, tmp_path: Path) -> Runtime:
    """Give what runs the image, with an empty state."""
    return Runtime(image, tmp_path)
