"""Sharing out a node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.core.job import JobDefinition
from pilot.runtime.slots import EqualSlots, Free, Needs, Node, Packed, Slots, needs_of, slots_for

EIGHT = Node(
    cores=8,
    memory_mb=16000,
    gpus=("0", "1"),
    disk_mb=80000,
    cpus=frozenset(range(8)),
    numa=(frozenset({0, 1, 2, 3}), frozenset({4, 5, 6, 7})),
)


def test_a_word_names_the_policy_and_a_bad_one_is_refused() -> None:
    assert isinstance(slots_for("auto", EIGHT), Packed)
    assert slots_for("4", EIGHT).free().jobs == 4
    for word in ("0", "-1", "many", ""):
        with pytest.raises(ValueError, match="slots"):
            slots_for(word, EIGHT)


def test_a_job_that_asks_for_more_than_a_slot_takes_several() -> None:
    slots = EqualSlots(EIGHT, 4)
    by_cores = slots.take("a", Needs(cores=3))
    assert by_cores is not None and (by_cores.slots, by_cores.cores, by_cores.memory_mb) == (2, 4, 8000)
    by_memory = slots.take("b", Needs(cores=1, memory_mb=4001))
    assert by_memory is not None and by_memory.slots == 2
    assert slots.take("c", Needs()) is None
    slots.release("a")
    assert slots.free() == Free(jobs=2, cores=4, memory_mb=8000, disk_mb=40000, gpus=2)


def test_more_slots_than_cores_are_allowed_but_not_pinned() -> None:
    slots = EqualSlots(Node(cores=1, memory_mb=1000, cpus=frozenset({0})), 2)
    grants = [slots.take(key, Needs()) for key in "ab"]
    assert all(grant is not None and grant.cores == 1 and not grant.cpus for grant in grants)


def test_what_never_fits_is_told_apart_from_what_does_not_fit_now() -> None:
    packed, equal = Packed(EIGHT), EqualSlots(EIGHT, 4)
    for slots in (packed, equal):
        slots.take("all", Needs(whole_node=True))
        assert slots.take("one", Needs()) is None
        assert slots.refusal(Needs()) == ""
        assert "3 GPUs" in slots.refusal(Needs(gpus=3))
        assert "16001 MB memory" in slots.refusal(Needs(memory_mb=16001))


def test_a_job_that_wants_more_cores_than_there_are_gets_all_of_them() -> None:
    for slots in (Packed(EIGHT), EqualSlots(EIGHT, 4)):
        assert slots.refusal(Needs(cores=64)) == ""
        grant = slots.take("large", Needs(cores=64))
        assert grant is not None and grant.cores == 8
        assert slots.take("small", Needs()) is None


def test_a_job_gets_the_cpus_of_one_memory_node_where_it_can() -> None:
    slots = Packed(EIGHT)
    first, second = slots.take("a", Needs(cores=3)), slots.take("b", Needs(cores=4))
    assert first is not None and second is not None
    assert second.cpus in EIGHT.numa
    assert first.cpus < EIGHT.numa[0] or first.cpus < EIGHT.numa[1]
    rest = slots.take("c", Needs(cores=1))
    assert rest is not None and not rest.cpus & (first.cpus | second.cpus)


def test_a_small_job_fills_the_gap_instead_of_breaking_a_free_memory_node() -> None:
    slots = Packed(EIGHT)
    slots.take("a", Needs(cores=3))
    slots.take("b", Needs(cores=1))
    wide = slots.take("c", Needs(cores=4))
    assert wide is not None and wide.cpus in EIGHT.numa


def test_gpus_are_given_to_one_job_at_a_time() -> None:
    slots = Packed(EIGHT)
    one, two = slots.take("a", Needs(gpus=1)), slots.take("b", Needs(gpus=1))
    assert one is not None and two is not None and set(one.gpus + two.gpus) == {"0", "1"}
    assert slots.take("c", Needs(gpus=1)) is None
    slots.release("a")
    again = slots.take("c", Needs(gpus=1))
    assert again is not None and again.gpus == one.gpus


def test_the_whole_node_waits_until_it_is_empty_and_then_is_all_of_it() -> None:
    slots = Packed(EIGHT)
    slots.take("a", Needs())
    assert slots.take("w", Needs(whole_node=True)) is None
    slots.release("a")
    whole = slots.take("w", Needs(whole_node=True))
    assert whole is not None
    assert (whole.cores, whole.cpus, whole.gpus, whole.memory_mb) == (8, EIGHT.cpus, ("0", "1"), 16000)
    assert slots.free().jobs == 0


def test_a_job_silent_about_its_memory_is_charged_its_cores_share() -> None:
    slots = Packed(EIGHT)
    grant = slots.take("a", Needs(cores=2))
    assert grant is not None and grant.memory_mb == 4000
    assert slots.take("b", Needs(cores=1, memory_mb=12001)) is None


def test_unknown_memory_and_disk_are_not_accounted() -> None:
    slots = Packed(Node(cores=2))
    assert slots.take("a", Needs(memory_mb=10**6, disk_mb=10**6)) is not None
    assert slots.take("b", Needs(memory_mb=10**6, disk_mb=10**6)) is not None
    assert slots.take("c", Needs()) is None


def test_a_definition_without_cores_asks_for_the_node() -> None:
    assert needs_of(JobDefinition(1, cores=0)).whole_node
    assert needs_of(JobDefinition(1, cores=4, memory_mb=2000, gpus=1)) == Needs(4, 2000, 1)


ASKED = st.builds(
    Needs,
    cores=st.integers(1, 9),
    memory_mb=st.integers(0, 17000),
    gpus=st.integers(0, 3),
    disk_mb=st.integers(0, 90000),
    whole_node=st.booleans(),
)


@given(st.sampled_from(["auto", "1", "3", "8"]), st.lists(st.tuples(st.integers(0, 9), st.none() | ASKED)))
def test_nothing_is_given_twice_and_all_of_it_comes_back(word: str, moves: list[tuple[int, Needs | None]]) -> None:
    slots: Slots = slots_for(word, EIGHT)
    empty = slots.free()
    held = {}
    for number, needs in moves:
        key = str(number)
        if needs is None:
            slots.release(key)
            held.pop(key, None)
        elif (grant := slots.take(key, needs)) is not None:
            assert held.setdefault(key, grant) == grant
            assert not slots.refusal(needs) or key in held
        cpus = [cpu for grant in held.values() for cpu in grant.cpus]
        gpus = [gpu for grant in held.values() for gpu in grant.gpus]
        assert len(cpus) == len(set(cpus)) and len(gpus) == len(set(gpus))
        assert sum(grant.cores for grant in held.values()) <= 8
        assert sum(grant.memory_mb for grant in held.values()) <= 16000
        assert all(len(grant.cpus) == grant.cores for grant in held.values())
    for key in list(held):
        slots.release(key)
    assert slots.free() == empty
