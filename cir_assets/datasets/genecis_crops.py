"""The boxes of GeneCIS's attribute tasks as pictures of their own, cut out as the benchmark's code cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from PIL import Image

from cir_assets.datasets.genecis_boxes import Box
from cir_assets.datasets.locating import located
from cir_assets.engines.cores import granted_cores
from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.pictures.opening import UnreadablePicture, open_picture
from cir_assets.pictures.settings import PIXEL_LIMIT
from cir_assets.store.files import write_whole

DILATION = 0.7
"""By how much of its width and height a box is moved to the left and up, and by how much it then grows."""


def cut_box(picture: Image.Image, box: Box) -> Image.Image:
    """Cut a box out of its picture, larger by ``DILATION``, and pad it to a square with black on both sides.

    As ``VAWDataset.load_cropped_image`` of github.com/facebookresearch/genecis does, whose box begins ``DILATION`` of
    its width further left but ends only where a box so much wider would, so that it is not centred.
    """
    left, top = max(0.0, box.left - DILATION * box.width), max(0.0, box.top - DILATION * box.height)
    right = min(float(picture.width), left + (1 + DILATION) * box.width)
    bottom = min(float(picture.height), top + (1 + DILATION) * box.height)
    cut = picture.crop((round(left), round(top), round(right), round(bottom)))
    side = max(cut.size)
    square = Image.new(cut.mode, (side, side), 0)
    square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return square


def cut_boxes(
    boxes: Sequence[Box], pictures: Path, destination: Path, progress: ProgressFactory = terminal_progress
) -> None:
    """Cut every box out that is not there yet, or whose picture is newer, as ``<destination>/<image>.png``.

    A box whose picture is missing or does not open, or that lies outside of it, gives no file: the scan tells it as a
    missing picture.

    Args:
        boxes: each once.
        pictures: the folder of Visual Genome's pictures, ``<number>.jpg`` in it or anywhere below.
        destination: the folder of PNG files, made where it is not there.
        progress: where it is told how far it is.
    """
    destination.mkdir(parents=True, exist_ok=True)
    by_picture: dict[str, list[Box]] = {}
    for box in boxes:
        by_picture.setdefault(box.picture, []).append(box)
    paths, _ = located(pictures, {picture: f"{picture}.jpg" for picture in by_picture})

    def cut(picture: str) -> int:
        source = pictures / paths[picture]
        with suppress(OSError, UnreadablePicture):
            changed = source.stat().st_mtime_ns
            files = {box: destination / f"{box.image}.png" for box in by_picture[picture]}
            missing = [box for box, file in files.items() if not _is_newer(file, changed)]
            if missing:
                opened = open_picture(source, PIXEL_LIMIT)
                opened = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
                for box in missing:
                    if box.left < opened.width and box.top < opened.height:
                        with write_whole(files[box]) as beside:
                            cut_box(opened, box).save(beside, format="PNG", compress_level=1)
        return len(by_picture[picture])

    with (
        progress("cut boxes out", len(boxes), "boxes") as shown,
        ThreadPoolExecutor(granted_cores()) as pool,
    ):
        for count in pool.map(cut, by_picture):
            shown.advance(count)


def link_folder(link: Path, folder: Path) -> None:
    """Make ``link`` lead to a folder, wherever it led before."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.readlink() == folder:
        return
    with suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(folder, target_is_directory=True)


def _is_newer(file: Path, moment_ns: int) -> bool:
    with suppress(OSError):
        return file.stat().st_mtime_ns >= moment_ns
    return False
