"""Searches of many people answered together: texts encoded, queries composed, the matrix read once for all of them."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue

import torch

from cir_assets.serving.searcher import Answer, Question, Searcher

MOST_TOGETHER = 32
"""Questions answered at once: so many texts cost a processor little more than one."""


LARGE_NETWORK = 20_000_000
"""Parameters of a text encoder from which on several threads share a computation. Below, and to read a matrix, they
would win a few milliseconds where cores are idle, and where they are not take many times the work, waiting for one
another."""


class Answering:
    """One thread that answers whatever questions wait, together; nobody waits for others to come.

    It alone computes: threads that each computed one answer would wait for each other's cores, and each read the
    whole matrix for itself.
    """

    def __init__(self, threads: int = 1) -> None:
        """Take the number of threads that torch may use for one computation of a large network."""
        self._threads = threads
        self._waiting: SimpleQueue[tuple[Searcher, Question, Future[Answer]] | None] = SimpleQueue()

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._run, name="answer questions", daemon=True).start()

    def stop(self) -> None:
        """Answer what waits, then end."""
        self._waiting.put(None)

    def submit(self, searcher: Searcher, question: Question) -> Future[Answer]:
        """The answer to a question, once it is its turn."""
        future: Future[Answer] = Future()
        self._waiting.put((searcher, question, future))
        return future

    def _run(self) -> None:
        ending = False
        while not ending:
            together: dict[Searcher, list[tuple[Question, Future[Answer]]]] = {}
            for asked in self._gathered():
                if asked is None:
                    ending = True
                    continue
                searcher, question, future = asked
                # One whose client went away meanwhile is left out.
                if future.set_running_or_notify_cancel():
                    together.setdefault(searcher, []).append((question, future))
            for searcher, some in together.items():
                # torch counts threads for each thread that computes.
                torch.set_num_threads(self._threads if searcher.text_parameters >= LARGE_NETWORK else 1)
                answer(searcher, some)

    def _gathered(self) -> list[tuple[Searcher, Question, Future[Answer]] | None]:
        asked = [self._waiting.get()]
        with suppress(Empty):
            while len(asked) < MOST_TOGETHER:
                asked.append(self._waiting.get_nowait())
        return asked


def answer(searcher: Searcher, asked: list[tuple[Question, Future[Answer]]]) -> None:
    """Answer questions together; where that fails, each alone, so that one fails for itself."""
    try:
        answers = searcher.search_together([question for question, _ in asked])
    except Exception as error:
        if len(asked) == 1:
            asked[0][1].set_exception(error)
            return
        for each in asked:
            answer(searcher, [each])
        return
    for (_, future), found in zip(asked, answers, strict=True):
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)
