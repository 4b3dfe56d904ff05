"""The kernel that digests results, on a card: it finds what its formula says, at the moment when its turn comes."""

from random import Random

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.gpu]
SALT = 7_735_928_559_301_117


@pytest.fixture(scope="module")
def witness():
    from deep_agent.harness.arms.places import CudaDevice
    from deep_agent.harness.sandbox.witness import Witness

    device = CudaDevice(0)
    return device, Witness(device.arm_kernels["witness"])


def digest_of(tensors, salt=SALT):
    """Work the digest out on the host: 32-bit words of whole chunks of 16 bytes, then each byte over, by place."""
    import numpy as np
    import torch

    from deep_agent.harness.sandbox.witness import SALT_SHIFT, WORD_FACTOR

    words = []
    for tensor in tensors:
        held = tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        whole = held.size // 16 * 16
        words += [held[:whole].view(np.uint32), held[whole:].astype(np.uint32)]
    values = np.concatenate(words)
    places = np.arange(1, values.size + 1, dtype=np.uint64) * np.uint64(salt << SALT_SHIFT)
    product = (values + (places >> np.uint64(32)).astype(np.uint32)).astype(np.uint64) * np.uint64(WORD_FACTOR)
    return int(((product >> np.uint64(32)) ^ (product & np.uint64(2**32 - 1))).sum()) % 2**32


def seen(kernel, tensors, *, number=0, salt=SALT):
    kernel.forget()
    kernel.see(number, tensors, salt)
    return kernel.digests(64)[number]


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (0, 4), (511, 1027), (4096, 4096)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool", "int8"])
def test_it_finds_what_its_formula_says_and_so_does_the_judge(witness, shape, dtype):
    from deep_agent.problem.dtype import DType

    device, kernel = witness
    region = device.region({"a": (shape, DType(dtype)), "b": ((7,), DType.INT8)}, Random(1), sealed=False)
    region.poison(Random(2))
    tensors = list(region.tensors.values())
    expected = digest_of(tensors)
    assert [seen(kernel, tensors, number=number) for number in (0, 63)] == [expected, expected]
    assert device.digests([tensors, tensors[:1], []], SALT) == [expected, digest_of(tensors[:1]), 0]
    region.close()


def test_it_sees_tensors_that_lie_anyhow(witness):
    import torch

    _, kernel = witness
    matrix = torch.randn(301, 127, device="cuda").to(torch.bfloat16)
    for lying in (matrix.t(), matrix.reshape(-1)[1:-2], matrix[:, 3:50], matrix[0, 0], matrix.expand(3, 301, 127)):
        assert seen(kernel, [lying]) == digest_of([lying])


def test_it_tells_where_values_lie(witness):
    import torch

    _, kernel = witness
    values = torch.randn(1 << 20, device="cuda").to(torch.bfloat16)
    other = torch.randn(1 << 20, device="cuda").to(torch.bfloat16)
    swapped = values.clone()
    swapped[123_456], swapped[7] = values[7].clone(), values[123_456].clone()
    moved = [
        [values.sort().values, other],
        [values.view(1024, 1024).t(), other],
        [values.view(-1, 2).flip(1), other],
        [values.roll(8), other],
        [swapped, other],
        [other, values],
    ]
    assert len({seen(kernel, tensors) for tensors in [[values, other], *moved]}) == 1 + len(moved)


def test_nobody_who_does_not_know_the_salt_knows_what_else_has_the_same_digest(witness):
    """Each change here keeps a digest whose salt is added to every word, or leaves only the sign of each word's share open."""
    import torch

    from deep_agent.harness.sandbox.witness import WORD_FACTOR

    _, kernel = witness
    values = torch.randint(-(2**31), 2**31, (1024, 1024), device="cuda").to(torch.int32)
    place = torch.arange(values.numel(), device="cuda").view(1024, 1024)
    transposed = values.t() + (place.t() - place) * WORD_FACTOR
    flipped = values.clone()
    flipped[0, :16] ^= -(2**31)
    for changed in (transposed.to(torch.int32), flipped, values + 1):
        for salt in range(SALT, SALT + 2**50, 2**43):
            assert seen(kernel, [values], salt=salt) != seen(kernel, [changed], salt=salt)


def test_bytes_that_are_no_bool_look_like_their_copy(witness):
    import torch

    _, kernel = witness
    odd = torch.randint(0, 256, (100, 64), device="cuda", dtype=torch.uint8).view(torch.bool)
    for returned in (odd, odd.t(), odd[:, ::2]):
        collected = torch.empty(returned.shape, dtype=torch.bool, device="cuda")
        collected.copy_(returned)
        assert seen(kernel, [returned]) == seen(kernel, [collected])


def test_it_sees_what_is_there_when_its_turn_comes(witness):
    import torch

    _, kernel = witness
    tensor = torch.zeros(1000, dtype=torch.int32, device="cuda")
    side = torch.cuda.Stream()
    before, after = digest_of([tensor]), digest_of([tensor + 1])
    kernel.forget()
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)
        tensor.fill_(1)
    kernel.see(0, [tensor], SALT)
    assert kernel.digests(1) == [before]
    torch.cuda.synchronize()
    assert seen(kernel, [tensor]) == after
