"""The kernel that sums results, on a card: it finds what the judge finds, at the moment when its turn comes."""

from random import Random

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.gpu]


@pytest.fixture(scope="module")
def witness():
    from deep_agent.harness.arms.places import CudaDevice
    from deep_agent.harness.sandbox.witness import Witness

    device = CudaDevice(0)
    return device, Witness(device.arm_kernels["witness"])


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (0, 4), (511, 1027), (4096, 4096)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool", "int8"])
def test_it_finds_the_sum_that_the_judge_finds(witness, shape, dtype):
    from deep_agent.problem.dtype import DType

    device, kernel = witness
    region = device.region({"a": (shape, DType(dtype)), "b": ((7,), DType.INT8)}, Random(1), sealed=False)
    region.poison(Random(2))
    for number in (0, 63):
        kernel.forget()
        for tensor in region.tensors.values():
            kernel.see(number, tensor)
        assert kernel.sums(64)[number] == int(region.word_sum()) % 2**32
    region.close()


def test_it_sees_tensors_that_lie_anyhow(witness):
    import torch

    _, kernel = witness
    matrix = torch.randn(301, 127, device="cuda").to(torch.bfloat16)
    lying = (matrix.t(), matrix.reshape(-1)[1:-2], matrix[:, 3:50])
    kernel.forget()
    for number, tensor in enumerate(lying):
        kernel.see(number, tensor)
    found = kernel.sums(len(lying))
    for tensor, total in zip(lying, found, strict=True):
        held = tensor.cpu().contiguous().view(torch.int16).numpy().tobytes()
        whole = len(held) // 4 * 4
        words = sum(int.from_bytes(held[at : at + 4], "little") for at in range(0, whole, 4))
        assert total == (words + sum(held[whole:])) % 2**32


def test_it_sees_what_is_there_when_its_turn_comes(witness):
    import torch

    _, kernel = witness
    tensor = torch.zeros(1000, dtype=torch.int32, device="cuda")
    side = torch.cuda.Stream()
    kernel.forget()
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)
        tensor.fill_(1)
    kernel.see(0, tensor)
    assert kernel.sums(1) == [0]
    torch.cuda.synchronize()
    kernel.forget()
    kernel.see(0, tensor)
    assert kernel.sums(1) == [1000]
