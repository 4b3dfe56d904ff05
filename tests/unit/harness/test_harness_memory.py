"""Shared buffers: poisoned, fenced, and read-only to others."""

import mmap
import os
from random import Random

import pytest
import torch

from deep_agent.harness.arms.memory import ALIGNMENT_BYTES, RED_ZONE_BYTES, sealed_file
from deep_agent.harness.arms.places import Host
from deep_agent.problem.dtype import DType

SPECS = {
    "a": ((3, 5), DType.FLOAT32),
    "b": ((7,), DType.INT64),
    "c": ((0, 4), DType.BFLOAT16),
    "d": ((9,), DType.BOOL),
    "e": ((), DType.INT32),
}


def made(seed=1, *, sealed=False):
    return Host().region(SPECS, Random(seed), sealed=sealed)


def test_tensors_have_their_shape_type_and_alignment_behind_a_red_zone():
    region = made()
    for name, (shape, dtype) in SPECS.items():
        placed = region.placements[name]
        assert region.tensors[name].shape == torch.Size(shape)
        assert str(region.tensors[name].dtype) == f"torch.{dtype.value}"
        assert placed.offset % ALIGNMENT_BYTES == 0
        assert placed.offset >= RED_ZONE_BYTES
    region.close()


def test_addresses_differ_from_one_region_to_the_next():
    offsets = {made(seed).placements["a"].offset for seed in range(30)}
    assert len(offsets) > 5


def test_a_write_outside_the_tensors_is_noticed_on_either_side():
    for shift in (-1, SPECS["a"][0][0] * SPECS["a"][0][1] * 4):
        region = made()
        assert region.red_zones_intact()
        region.poison(Random(2))
        assert region.red_zones_intact()
        region.content[region.placements["a"].offset + shift] = 0
        assert not region.red_zones_intact()
        region.close()


def test_poison_leaves_nothing_of_an_answer():
    region = made()
    for seed in range(20):
        region.tensors["a"].fill_(1.0)
        region.tensors["b"].fill_(3)
        region.tensors["e"].fill_(5)
        region.poison(Random(seed))
        assert not (region.tensors["a"] == 1.0).any()
        assert not (region.tensors["b"] == 3).any()
        assert region.tensors["e"] != 5
    region.close()


def test_others_can_read_a_sealed_region_but_never_write_it():
    region = made(sealed=True)
    region.tensors["a"].fill_(2.0)
    seen = mmap.mmap(region.fd, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    assert seen[region.placements["a"].offset + 3] == 0x40
    with pytest.raises(PermissionError):
        mmap.mmap(region.fd, 0, flags=mmap.MAP_SHARED)
    with pytest.raises(PermissionError):
        os.pwrite(region.fd, b"x", 0)
    seen.close()
    region.close()


def test_a_sealed_file_holds_its_bytes_for_good():
    fd = sealed_file(b"artefact" * 1000)
    assert os.pread(fd, 8, 0) == b"artefact"
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    os.close(fd)
