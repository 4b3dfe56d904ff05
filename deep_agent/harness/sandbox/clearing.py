"""Empties a card's L2, or holds the card, with a kernel beside which no other fits. Loads torch and libcuda.

Its threads take every place on every multiprocessor, and none ends before all of them have begun. So at one moment the
card runs no other kernel: what other streams were given before has ended, or has not begun. Kernels of a call that need
not wait for the call before therefore cannot hide beside the emptying, which no clock counts. Copies can that
the card's engines make, as those to and from the host: they take no multiprocessor.
"""

from typing import Final

import torch

from deep_agent.harness.sandbox.driver import DeviceFunction, Launch, compiled

_THREADS: Final = 512
"""Of a block. It divides what a multiprocessor holds of every generation since Volta (1024, 1536 or 2048), and 32 registers each are
what a multiprocessor has for 2048."""
_LOADS: Final = 4
"""Loads of 16 bytes that a thread makes a turn."""
_EMPTYING_US: Final = 60.0
"""The least that emptying takes; reading alone takes an H200 35 us. The host launches the call meanwhile, unseen, and needs about so long."""
_NAME: Final = "keep_alone"
_PTX: Final = f"""
.version 6.0
.target sm_70
.address_size 64

.visible .entry {_NAME}(.param .u64 p_buffer, .param .u64 p_turns, .param .u64 p_ns, .param .u64 p_state)
.maxntid {_THREADS}, 1, 1
.maxnreg 32
{{
  .reg .pred p;
  .reg .u32 block, blocks, thread, number, sum, a<4>, b<4>, c<4>, d<4>;
  .reg .u64 next, step, left, state, ns, from, now, first, ticket, goal, seen;

  // Not the multiprocessor's clock: it sinks under load, and the judge takes what this lasts from its own times.
  mov.u64 from, %globaltimer;
  mov.u32 block, %ctaid.x;
  mov.u32 blocks, %nctaid.x;
  mov.u32 thread, %tid.x;
  ld.param.u64 next, [p_buffer];
  ld.param.u64 left, [p_turns];
  ld.param.u64 ns, [p_ns];
  ld.param.u64 state, [p_state];
  cvta.to.global.u64 next, next;
  cvta.to.global.u64 state, state;

  // Thread i of the grid reads chunk i of each row of the buffer; a row has a chunk of 16 bytes for every thread.
  mad.lo.u32 number, block, {_THREADS}, thread;
  mul.wide.u32 first, number, 16;
  add.u64 next, next, first;
  mul.wide.u32 step, blocks, {16 * _THREADS};
  mov.u32 sum, 0;
READ:
  setp.eq.u64 p, left, 0;
  @p bra ENOUGH;
  ld.global.cg.v4.u32 {{a0, a1, a2, a3}}, [next];
  add.u64 next, next, step;
  ld.global.cg.v4.u32 {{b0, b1, b2, b3}}, [next];
  add.u64 next, next, step;
  ld.global.cg.v4.u32 {{c0, c1, c2, c3}}, [next];
  add.u64 next, next, step;
  ld.global.cg.v4.u32 {{d0, d1, d2, d3}}, [next];
  add.u64 next, next, step;
  xor.b32 sum, sum, a0;
  xor.b32 sum, sum, b1;
  xor.b32 sum, sum, c2;
  xor.b32 sum, sum, d3;
  sub.u64 left, left, 1;
  bra READ;
ENOUGH:
  // The buffer holds zeros; a store that never comes keeps the loads.
  setp.ne.u32 p, sum, 0;
  @p st.global.u32 [state + 8], sum;

  bar.sync 0;
  setp.ne.u32 p, thread, 0;
  @p bra TOGETHER;
WAIT:
  mov.u64 now, %globaltimer;
  sub.u64 now, now, from;
  setp.lt.u64 p, now, ns;
  @p bra WAIT;

  // No block ends before all have begun. In 32 bits the count of an arm that lives long would come round.
  atom.acq_rel.gpu.global.add.u64 ticket, [state], 1;
  cvt.u64.u32 first, blocks;
  div.u64 goal, ticket, first;
  add.u64 goal, goal, 1;
  mul.lo.u64 goal, goal, first;
MEET:
  ld.acquire.gpu.global.u64 seen, [state];
  setp.lt.u64 p, seen, goal;
  @p bra MEET;
TOGETHER:
  bar.sync 0;
  ret;
}}
"""


def clearing_code() -> bytes:
    """Compile the kernel for the current device, once for many arms: it takes longer than many a verdict's bursts.

    Raises:
        DriverError: the driver has no compiler.
    """
    return compiled(_PTX)


class Clearing:
    """The kernel, and the buffer that it reads; a context must be current, and stays so."""

    def __init__(self, code: bytes, n_bytes: int) -> None:
        """Load what `clearing_code` gave and allocate; n_bytes is the least that emptying reads."""
        self._device = torch.cuda.current_device()
        found = torch.cuda.get_device_properties(self._device)
        self._function = DeviceFunction(code, _NAME)
        self._n_blocks = found.multi_processor_count * (found.max_threads_per_multi_processor // _THREADS)
        turn_bytes = 16 * _LOADS * _THREADS * self._n_blocks
        n_turns = -(-n_bytes // turn_bytes)
        self._buffer = torch.zeros(n_turns * turn_bytes, dtype=torch.uint8, device=f"cuda:{self._device}")
        self._state = torch.zeros(2, dtype=torch.int64, device=f"cuda:{self._device}")
        self._empty = self._launch(n_turns, _EMPTYING_US)

    def empty(self) -> None:
        """Read through the buffer, on the current stream, while no other kernel runs."""
        self._empty(self._stream())

    def hold(self, us: float) -> None:
        """Keep the card for so long, and give it to no other kernel."""
        self._launch(0, us)(self._stream())

    def _launch(self, n_turns: int, least_us: float) -> Launch:
        n_ns = int(least_us * 1e3)
        return self._function.launch(
            self._n_blocks, _THREADS, self._buffer.data_ptr(), n_turns, n_ns, self._state.data_ptr()
        )

    def _stream(self) -> int:
        handle: int = torch._C._cuda_getCurrentRawStream(self._device)  # noqa: SLF001 - the public way is slow, and easily patched
        return handle
