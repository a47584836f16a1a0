"""Texts of many people encoded together: 32 at once cost a processor little more than one."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue

import torch

from cir_assets.models.backbone import Backbone

MOST_TOGETHER = 32


class TextEncoding:
    """One thread that encodes whatever texts wait, together; nobody waits for others to come.

    A text's feature is that of encoding it alone but for rounding: the longest of those encoded together says how
    far all are padded, and with it in which order numbers are added.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Backbone, str, Future[torch.Tensor]] | None] = SimpleQueue()

    def start(self) -> None:
        """Begin to encode."""
        threading.Thread(target=self._run, name="encode texts", daemon=True).start()

    def stop(self) -> None:
        """Encode what waits, then end."""
        self._waiting.put(None)

    def submit(self, backbone: Backbone, text: str) -> Future[torch.Tensor]:
        """The raw text feature (D,) of a text, once it is its turn."""
        future: Future[torch.Tensor] = Future()
        self._waiting.put((backbone, text, future))
        return future

    def _run(self) -> None:
        ending = False
        while not ending:
            together: dict[Backbone, list[tuple[str, Future[torch.Tensor]]]] = {}
            for asked in self._gathered():
                if asked is None:
                    ending = True
                    continue
                backbone, text, future = asked
                # One whose client went away meanwhile is left out.
                if future.set_running_or_notify_cancel():
                    together.setdefault(backbone, []).append((text, future))
            for backbone, some in together.items():
                encode(backbone, some)

    def _gathered(self) -> list[tuple[Backbone, str, Future[torch.Tensor]] | None]:
        asked = [self._waiting.get()]
        with suppress(Empty):
            while len(asked) < MOST_TOGETHER:
                asked.append(self._waiting.get_nowait())
        return asked


def encode(backbone: Backbone, asked: list[tuple[str, Future[torch.Tensor]]]) -> None:
    """Encode texts together and hand each its feature; where that fails, each alone, so that one fails for itself."""
    try:
        features = backbone.text_features([text for text, _ in asked])
    except Exception as error:
        if len(asked) == 1:
            asked[0][1].set_exception(error)
            return
        for each in asked:
            encode(backbone, [each])
        return
    for (_, future), feature in zip(asked, features, strict=True):
        future.set_result(feature)
