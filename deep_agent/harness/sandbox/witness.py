"""Digests what results hold at a moment of a stream, with a kernel that comes there in its turn. Loads torch and libcuda.

Whoever has worked on behind that moment leaves results with another digest. It adds up a share of every word, which depends
on the word and on what the salt makes of its place: who does not know the salt knows of no other results, and of no other
order of them, that have the same digest. It is no cryptographic hash: who knows the salt finds some.
"""

from collections.abc import Sequence
from typing import Final

import torch

from deep_agent.harness.sandbox.driver import DeviceFunction, compiled

DIGEST_VALUES: Final = 2**32
"""Digests lie below."""
SALT_VALUES: Final = 2**53
"""Salts lie below: a double holds each."""
SALT_SHIFT: Final = 11
"""What it takes to fill 64 bits with a salt. The upper half of a place, counted from 1, times that is what goes with its word:
places that are any power of two apart, and tensors as long as may be, differ there by what only the salt tells."""
WORD_FACTOR: Final = 0x9E3779B1
"""Odd; words are multiplied by it, and the halves of the product folded, so that each bit tells on many."""
_PLACES: Final = 2**64
_CHUNK_BYTES: Final = 16
_WORD_BYTES: Final = 4
_CHUNK_WORDS: Final = 4
_THREADS: Final = 512
_MOST_RESULTS: Final = 64
"""Results with a digest of their own: more than input sets rotate."""
_NAME: Final = "add_digest"


def _add_word(value: str, place: str) -> str:
    """Give PTX that adds a word's share to the digest; spoils the value, and `half` and `product`."""
    return f"""
  mov.b64 {{half, key}}, {place};
  add.u32 {value}, {value}, key;
  mul.wide.u32 product, {value}, {WORD_FACTOR};
  mov.b64 {{half, key}}, product;
  xor.b32 half, half, key;
  add.u32 sum, sum, half;
"""


def _add_lanes(apart: int) -> str:
    """Give PTX that adds up pairs of a warp's lanes."""
    return f"""
  shfl.sync.bfly.b32 at, sum, {apart}, 31, 0xffffffff;
  add.u32 sum, sum, at;
"""


_PTX: Final = f"""
.version 6.0
.target sm_70
.address_size 64

.visible .entry {_NAME}(
  .param .u64 p_chunks, .param .u64 p_n_chunks, .param .u64 p_n_bytes_over, .param .u64 p_first, .param .u64 p_factor, .param .u64 p_digest
)
.maxntid {_THREADS}, 1, 1
{{
  .reg .pred p;
  .reg .u32 block, blocks, thread, number, sum, at, half, key, a<{_CHUNK_WORDS}>;
  .reg .u64 index, n_chunks, step, next, step_bytes, over, first, factor, place, place_step, product, to;

  mov.u32 block, %ctaid.x;
  mov.u32 blocks, %nctaid.x;
  mov.u32 thread, %tid.x;
  ld.param.u64 next, [p_chunks];
  ld.param.u64 n_chunks, [p_n_chunks];
  ld.param.u64 over, [p_n_bytes_over];
  ld.param.u64 first, [p_first];
  ld.param.u64 factor, [p_factor];
  ld.param.u64 to, [p_digest];
  cvta.to.global.u64 next, next;
  cvta.to.global.u64 to, to;
  mul.wide.u32 step, blocks, {_THREADS};
  mul.lo.u64 step_bytes, step, {_CHUNK_BYTES};

  mov.u32 sum, 0;
  mad.lo.u32 number, block, {_THREADS}, thread;
  cvt.u64.u32 index, number;

  // Each byte that fills no chunk counts as a word behind all others.
  setp.ge.u64 p, index, over;
  @p bra CHUNKS;
  mul.lo.u64 over, n_chunks, {_CHUNK_BYTES};
  add.u64 over, over, next;
  add.u64 over, over, index;
  ld.global.cg.u8 a0, [over];
  mad.lo.u64 place, n_chunks, {_CHUNK_WORDS}, index;
  mad.lo.u64 place, place, factor, first;
{_add_word("a0", "place")}
CHUNKS:
  mul.lo.u64 place, index, {_CHUNK_WORDS};
  mad.lo.u64 place, place, factor, first;
  // Between the last word of a chunk and the first of the thread's next one.
  mul.lo.u64 place_step, step, {_CHUNK_WORDS};
  sub.u64 place_step, place_step, {_CHUNK_WORDS - 1};
  mul.lo.u64 place_step, place_step, factor;
  mul.lo.u64 over, index, {_CHUNK_BYTES};
  add.u64 next, next, over;
READ:
  setp.ge.u64 p, index, n_chunks;
  @p bra ENOUGH;
  // Past the first-level cache, which holds what was there before.
  ld.global.cg.v4.u32 {{a0, a1, a2, a3}}, [next];
{"  add.u64 place, place, factor;".join(_add_word(f"a{lane}", "place") for lane in range(_CHUNK_WORDS))}
  add.u64 place, place, place_step;
  add.u64 index, index, step;
  add.u64 next, next, step_bytes;
  bra READ;
ENOUGH:
{"".join(map(_add_lanes, (16, 8, 4, 2, 1)))}
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
    """The kernel, and a digest for each of several results; a context must be current, and stays so."""

    def __init__(self, code: bytes) -> None:
        """Load what `witness_code` gave."""
        self._device = torch.cuda.current_device()
        found = torch.cuda.get_device_properties(self._device)
        self._function = DeviceFunction(code, _NAME)
        self._n_blocks = found.multi_processor_count * (found.max_threads_per_multi_processor // _THREADS)
        self._digests = torch.zeros(_MOST_RESULTS, dtype=torch.int32, device=f"cuda:{self._device}")

    def forget(self) -> None:
        """Start from nothing, on the current stream."""
        self._digests.zero_()

    def see(self, number: int, tensors: Sequence[torch.Tensor], salt: int) -> None:
        """Digest result `number` of several tensors, when the current stream comes to it; 64 results at most, salts below 2**53."""
        assert number < _MOST_RESULTS, "fewer input sets rotate"
        to = self._digests.data_ptr() + _WORD_BYTES * number
        stream = torch._C._cuda_getCurrentRawStream(self._device)  # noqa: SLF001 - the public way is slow, and easily patched
        factor, place = salt << SALT_SHIFT, 1
        for tensor in tensors:
            dense = tensor.resolve_conj().resolve_neg().contiguous()
            if dense.data_ptr() % _CHUNK_BYTES:
                dense = dense.clone()
            n_chunks, n_bytes_over = divmod(dense.nbytes, _CHUNK_BYTES)
            if dense.nbytes:
                values = dense.data_ptr(), n_chunks, n_bytes_over, place * factor % _PLACES, factor, to
                self._function.launch(self._n_blocks, _THREADS, *values)(stream)
            place += n_chunks * _CHUNK_WORDS + n_bytes_over

    def digests(self, n_results: int) -> list[int]:
        """Wait for the device, and give the digests of the first results."""
        return [one % DIGEST_VALUES for one in self._digests[:n_results].tolist()]
