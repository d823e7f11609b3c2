"""What swapping under load promises: no failed use, each model closed once and only after its last use."""

import itertools
import sys
from collections.abc import Iterator
from threading import Barrier, Event, Lock, Thread
from typing import Self

import pytest

from thunderline.consumer.reload import Switch
from thunderline.errors import Unavailable

SWAPS, THREADS = 180, 8


@pytest.fixture
def restless() -> Iterator[None]:
    """Let threads take turns ten times as often: more interleavings in less time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 10)
    yield
    sys.setswitchinterval(before)


class Counted:
    """A model that knows how often it was used and closed, and that refuses use once closed."""

    def __init__(self, number: int) -> None:
        self.number, self.uses, self.closes, self._lock = number, 0, 0, Lock()

    def answer(self) -> int:
        assert self.closes == 0, f"model {self.number} was used after it was closed"
        with self._lock:
            self.uses += 1
        return self.number

    def close(self) -> None:
        with self._lock:
            self.closes += 1


class Clients:
    """Threads that use whatever serves, each a few times inside one use, until told to stop."""

    def __init__(self, switch: Switch[Counted]) -> None:
        self._switch, self._stop, self._begin = switch, Event(), Barrier(THREADS + 1)
        self.served, self.problems = [0] * THREADS, list[str]()
        self._threads = [Thread(target=self._run, args=(one,)) for one in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self._begin.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, number: int) -> None:
        self._begin.wait(10)
        while not self._stop.is_set():
            try:
                with self._switch.use() as model:
                    assert len({model.answer() for _ in range(20)}) == 1
            except (AssertionError, Unavailable) as error:
                self.problems.append(str(error))
            self.served[number] += 1

    def wait_for_one_more(self) -> None:
        """Return once some thread has finished another use."""
        before = sum(self.served)
        while sum(self.served) == before:
            Event().wait(0.0001)


@pytest.mark.usefixtures("restless")
def test_under_load_no_use_fails_and_each_old_model_is_closed_once_after_its_last_use() -> None:
    models = [Counted(number) for number in range(SWAPS + 1)]
    switch: Switch[Counted] = Switch(Counted.close)
    switch.swap(models[0])
    with Clients(switch) as clients:
        for model in models[1:]:
            clients.wait_for_one_more()
            switch.swap(model)
        clients.wait_for_one_more()
    assert clients.problems == []
    assert min(clients.served) > 0
    assert [one.closes for one in models] == [1] * SWAPS + [0]
    switch.end()
    assert models[-1].closes == 1


def test_a_use_in_progress_ends_on_the_model_it_began_with() -> None:
    old, new = Counted(1), Counted(2)
    switch: Switch[Counted] = Switch(Counted.close)
    switch.swap(old)
    with switch.use() as in_use:
        switch.swap(new)
        with switch.use() as later:
            assert (in_use.answer(), later.answer()) == (1, 2)
        assert old.closes == 0
    assert (old.closes, new.closes) == (1, 0)


def test_a_use_that_raises_ends_too() -> None:
    old = Counted(1)
    switch: Switch[Counted] = Switch(Counted.close)
    switch.swap(old)
    with pytest.raises(ZeroDivisionError), switch.use():
        raise ZeroDivisionError
    switch.swap(Counted(2))
    assert old.closes == 1


def test_before_the_first_model_a_use_is_refused() -> None:
    switch: Switch[Counted] = Switch()
    assert switch.is_empty
    with pytest.raises(Unavailable, match="wait for the first promotion"), switch.use():
        pass


def test_a_close_that_raises_fails_neither_the_swap_nor_the_last_use() -> None:
    def refuse(_: Counted) -> None:
        raise OSError("still mapped")

    switch: Switch[Counted] = Switch(refuse)
    switch.swap(Counted(1))
    switch.swap(Counted(2))  # closes 1 here
    with switch.use() as model:
        switch.swap(Counted(3))  # closes 2 when the use ends
        assert model.number == 2


def test_what_is_loaded_after_the_end_never_serves_and_is_closed() -> None:
    switch: Switch[Counted] = Switch(Counted.close)
    first, late = Counted(1), Counted(2)
    switch.swap(first)
    switch.end()
    switch.swap(late)
    switch.end()
    assert (first.closes, late.closes) == (1, 1)
    assert switch.is_empty


@pytest.mark.parametrize("users", [1, 2, 5])
def test_the_last_of_several_uses_closes(users: int) -> None:
    old = Counted(1)
    switch: Switch[Counted] = Switch(Counted.close)
    switch.swap(old)
    uses = [switch.use() for _ in range(users)]
    for use in uses:
        use.__enter__()
    switch.swap(Counted(2))
    for use, is_last in zip(uses, itertools.chain([False] * (users - 1), [True]), strict=True):
        use.__exit__(None, None, None)
        assert old.closes == int(is_last)
