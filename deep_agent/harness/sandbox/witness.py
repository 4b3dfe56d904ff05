"""Sums what results hold at a moment of a stream, with a kernel that comes there in its turn. Loads torch and libcuda.

Whoever has worked on behind that moment leaves results that sum otherwise.
"""

from typing import Final

import torch

from deep_agent.harness.sandbox.driver import DeviceFunction, compiled

WORD_BYTES: Final = 4
_THREADS: Final = 512
_MOST_RESULTS: Final = 64
"""Results that are summed apart: more than input sets rotate."""
_NAME: Final = "sum_bytes"
_PTX: Final = f"""
.version 6.0
.target sm_70
.address_size 64

.visible .entry {_NAME}(.param .u64 p_words, .param .u64 p_n_words, .param .u64 p_n_bytes_over, .param .u64 p_sum)
.maxntid {_THREADS}, 1, 1
{{
  .reg .pred p;
  .reg .u32 block, blocks, thread, number, sum, value;
  .reg .u64 index, n_words, step, next, step_bytes, over, to;

  mov.u32 block, %ctaid.x;
  mov.u32 blocks, %nctaid.x;
  mov.u32 thread, %tid.x;
  ld.param.u64 next, [p_words];
  ld.param.u64 n_words, [p_n_words];
  ld.param.u64 over, [p_n_bytes_over];
  ld.param.u64 to, [p_sum];
  cvta.to.global.u64 next, next;
  cvta.to.global.u64 to, to;
  mul.wide.u32 step, blocks, {_THREADS};
  shl.b64 step_bytes, step, 2;

  mov.u32 sum, 0;
  mad.lo.u32 number, block, {_THREADS}, thread;
  cvt.u64.u32 index, number;

  // The bytes that fill no word are added one by one.
  setp.ge.u64 p, index, over;
  @p bra WORDS;
  shl.b64 over, n_words, 2;
  add.u64 over, over, next;
  add.u64 over, over, index;
  ld.global.cg.u8 sum, [over];

WORDS:
  shl.b64 over, index, 2;
  add.u64 next, next, over;
READ:
  setp.ge.u64 p, index, n_words;
  @p bra ENOUGH;
  // Past the first-level cache, which holds what was there before.
  ld.global.cg.u32 value, [next];
  add.u32 sum, sum, value;
  add.u64 index, index, step;
  add.u64 next, next, step_bytes;
  bra READ;
ENOUGH:
  shfl.sync.bfly.b32 value, sum, 16, 31, 0xffffffff;
  add.u32 sum, sum, value;
  shfl.sync.bfly.b32 value, sum, 8, 31, 0xffffffff;
  add.u32 sum, sum, value;
  shfl.sync.bfly.b32 value, sum, 4, 31, 0xffffffff;
  add.u32 sum, sum, value;
  shfl.sync.bfly.b32 value, sum, 2, 31, 0xffffffff;
  add.u32 sum, sum, value;
  shfl.sync.bfly.b32 value, sum, 1, 31, 0xffffffff;
  add.u32 sum, sum, value;
  and.b32 thread, thread, 31;
  setp.eq.u32 p, thread, 0;
  @p red.global.add.u32 [to], sum;
  ret;
}}
"""


def witness_code() -> bytes:
    """Compile the kernel for the current device, once for many arms.

    Raises:
        DriverError: the driver has no compiler.
    """
    return compiled(_PTX)


class Witness:
    """The kernel, and a sum for each of several results; a context must be current, and stays so."""

    def __init__(self, code: bytes) -> None:
        """Load what `witness_code` gave."""
        self._device = torch.cuda.current_device()
        found = torch.cuda.get_device_properties(self._device)
        self._function = DeviceFunction(code, _NAME)
        self._n_blocks = found.multi_processor_count * (found.max_threads_per_multi_processor // _THREADS)
        self._sums = torch.zeros(_MOST_RESULTS, dtype=torch.int32, device=f"cuda:{self._device}")

    def forget(self) -> None:
        """Start from nothing, on the current stream."""
        self._sums.zero_()

    def see(self, number: int, tensor: torch.Tensor) -> None:
        """Add what a tensor holds to the sum of result `number`, below 64, when the current stream comes to it."""
        dense = tensor.resolve_conj().resolve_neg().contiguous()
        if dense.data_ptr() % WORD_BYTES:
            dense = dense.clone()
        n_words, n_bytes_over = divmod(dense.nbytes, WORD_BYTES)
        to = self._sums.data_ptr() + WORD_BYTES * number
        stream = torch._C._cuda_getCurrentRawStream(self._device)  # noqa: SLF001 - the public way is slow, and easily patched
        if dense.nbytes:
            self._function.launch(self._n_blocks, _THREADS, dense.data_ptr(), n_words, n_bytes_over, to)(stream)

    def sums(self, n_results: int) -> list[int]:
        """Wait for the device, and give the sums of the first results, each modulo 2**32."""
        return [one % 2**32 for one in self._sums[:n_results].tolist()]
