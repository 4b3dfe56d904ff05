"""Owns the C++ text for vectors, and for loads, stores and conversions of each element type."""

BASE = r"""
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#define INLINE inline __attribute__((always_inline))

#define LANES @LANES@  // elements handled by one vector operation
#define VECTOR(T) __attribute__((vector_size(LANES * sizeof(T))))
typedef float vec VECTOR(float);
typedef int32_t ivec VECTOR(int32_t);   // integers, and truth values as 0 or -1
typedef uint32_t uvec VECTOR(uint32_t);

struct All {};            // a whole vector
struct Some { int64_t n; };  // its first n lanes, up to all of them: the ends of a row

INLINE vec splat(float x) { return vec{} + x; }
INLINE ivec splat(bool x) { return ivec{} - static_cast<int32_t>(x); }
INLINE vec splat(int64_t x) { return vec{} + static_cast<float>(x); }
INLINE ivec iota() { return ivec{@IOTA@}; }
template <class To, class From> INLINE To bits(From x) { To y; static_assert(sizeof(x) == sizeof(y), ""); __builtin_memcpy(&y, &x, sizeof(y)); return y; }

// The lanes that count keep their value, the others get one that changes nothing.
INLINE vec keep(vec x, All, float) { return x; }
INLINE ivec first(int64_t n) { return iota() < static_cast<int32_t>(n); }
INLINE vec keep(vec x, Some some, float otherwise) { return first(some.n) ? x : splat(otherwise); }

template <class F> INLINE vec lanewise(vec x, F f) { for (int k = 0; k < LANES; ++k) x[k] = f(x[k]); return x; }

// Go over the columns from `j` to `end`, U vectors a turn while there are enough.
template <int U, class Body> INLINE void whole_vectors(int64_t& j, int64_t end, Body body) {
  for (; j + U * LANES <= end; j += U * LANES) {
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) body(j + u * LANES, All{}, u);
  }
  if (U > 1) for (; j + LANES <= end; j += LANES) body(j, All{}, 0);
}

// Go over `width` columns.
template <int U, class Body> INLINE void sweep(int64_t width, Body body) {
  int64_t j = 0;
  whole_vectors<U>(j, width, body);
  if (j < width) body(j, Some{width - j}, 0);
}

// Whether the column lies where a cache line starts.
template <class T> INLINE bool starts_line(const T* out, int64_t column) {
  return (reinterpret_cast<uintptr_t>(out) + static_cast<uintptr_t>(column) * sizeof(T)) % 64 == 0;
}

// The same for columns that are written past the cache, whole vectors only where they fill whole lines of every output:
// a line that is written past the cache in part and into it in part costs as much as dozens of whole ones.
// `out` has the narrowest type; outputs whose lines start at other columns than its lines do are written into the cache.
template <int U, class Body, class T, class... More>
INLINE void sweep_lines(int64_t width, Body body, const T* out, const More*... more) {
  constexpr int64_t line = 64 / sizeof(T);
  const int64_t past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) / sizeof(T)) % line;
  const int64_t to_line = past == 0 ? 0 : line - past;
  const bool together = (starts_line(out, to_line) && ... && starts_line(more, to_line));
  const int64_t head = together && to_line < width ? to_line : width;
  const int64_t whole = head + (width - head) / line * line;
  int64_t j = 0;
  for (int64_t end = head;; end = width) {  // one loop for both ends keeps the code small
    for (; j < end; j += LANES) body(j, Some{end - j < LANES ? end - j : LANES}, 0);
    if (end == width) return;
    j = head;
    whole_vectors<U>(j, whole, body);
  }
}
"""

LOAD = r"""
// The first n elements, the other lanes 0; out of line, as it is rare.
template <class T> __attribute__((noinline)) auto load_part(const T* p, int64_t n) {
  T part[LANES] = {};
  for (int64_t k = 0; k < n; ++k) part[k] = p[k];
  return load(part);
}
#if LANES == 16 && defined(__AVX512F__)
INLINE vec load_part(const float* p, int64_t n) { return __builtin_ia32_loadups512_mask(p, vec{}, static_cast<uint16_t>((1u << n) - 1)); }
#elif LANES == 8 && defined(__AVX__)
INLINE vec load_part(const float* p, int64_t n) { return __builtin_ia32_maskloadps256(reinterpret_cast<const vec*>(p), first(n)); }
#endif
template <class T> INLINE auto load(const T* p, All) { return load(p); }
template <class T> INLINE auto load(const T* p, Some some) { return some.n == LANES ? load(p) : load_part(p, some.n); }
"""

STORE = r"""
template <class T, class V> __attribute__((noinline)) void store_part(T* p, V x, int64_t n) {
  T part[LANES];
  put(part, x);
  for (int64_t k = 0; k < n; ++k) p[k] = part[k];
}
#if LANES == 16 && defined(__AVX512F__)
INLINE void store_part(float* p, vec x, int64_t n) { __builtin_ia32_storeups512_mask(p, x, static_cast<uint16_t>((1u << n) - 1)); }
#elif LANES == 8 && defined(__AVX__)
INLINE void store_part(float* p, vec x, int64_t n) { __builtin_ia32_maskstoreps256(reinterpret_cast<vec*>(p), first(n), x); }
#endif
template <class T, class V> INLINE void store(T* p, V x, All) { put(p, x); }
template <class T, class V> INLINE void store(T* p, V x, Some some) {
  if (some.n == LANES) put(p, x);
  else store_part(p, x, some.n);
}
// Past the cache, where whole lines are written.
template <class T, class V> INLINE void store_line(T* p, V x, All) { stream(p, x); }
template <class T, class V> INLINE void store_line(T* p, V x, Some some) { store(p, x, some); }
// The same for rows that may start elsewhere in a line than the first of those handled together.
template <class T, class V> INLINE void store_near_line(T* p, V x, All) {
  if (reinterpret_cast<uintptr_t>(p) % (LANES * sizeof(T)) == 0) stream(p, x);
  else put(p, x);
}
template <class T, class V> INLINE void store_near_line(T* p, V x, Some some) { store(p, x, some); }
"""

FLOAT32 = r"""
INLINE vec load(const float* p) { vec x; __builtin_memcpy(&x, p, sizeof(x)); return x; }
INLINE void put(float* p, vec x) { __builtin_memcpy(p, &x, sizeof(x)); }
INLINE void stream(float* p, vec x) {
#if LANES == 16 && defined(__AVX512F__)
  __builtin_ia32_movntps512(p, x);
#elif LANES == 8 && defined(__AVX__)
  __builtin_ia32_movntps256(p, x);
#else
  put(p, x);
#endif
}
"""

HALVES = r"""
typedef uint16_t halves VECTOR(uint16_t);
typedef short shorts VECTOR(short);
typedef long long words __attribute__((vector_size(2 * LANES)));
// GCC's own conversions between element widths take several instructions, or go lane by lane.
INLINE uvec widened_bits(halves x) {
#if LANES == 8 && defined(__AVX2__)
  return bits<uvec>(__builtin_ia32_pmovzxwd256(bits<shorts>(x)));
#else
  return __builtin_convertvector(x, uvec);
#endif
}
INLINE halves low_halves(uvec x) {  // of numbers below 2^16
#if LANES == 8 && defined(__AVX2__)
  const ivec y = bits<ivec>(x);
  return bits<halves>(__builtin_ia32_packusdw128(__builtin_ia32_vextractf128_si256(y, 0), __builtin_ia32_vextractf128_si256(y, 1)));
#else
  return __builtin_convertvector(x, halves);
#endif
}
INLINE void stream_halves(void* p, halves x) {
#if LANES == 16 && defined(__AVX__)
  __builtin_ia32_movntdq256(static_cast<words*>(p), bits<words>(x));
#elif LANES == 8 && defined(__SSE2__)
  __builtin_ia32_movntdq(static_cast<words*>(p), bits<words>(x));
#else
  __builtin_memcpy(p, &x, sizeof(x));
#endif
}
"""

BFLOAT16 = r"""
struct bfloat16 { uint16_t bits; };
INLINE float widened(bfloat16 x) { return bits<float>(static_cast<uint32_t>(x.bits) << 16); }
INLINE vec load(const bfloat16* p) {
  halves x; __builtin_memcpy(&x, p, sizeof(x));
  return bits<vec>(widened_bits(x) << 16);
}
// Round to the nearest, ties to even; NaN stays NaN.
INLINE uvec bfloat16_bits(vec x) {
  const uvec whole = bits<uvec>(x);
  const uvec rounded = (whole + 0x7fff + ((whole >> 16) & 1)) >> 16;
  return x != x ? uvec{} + 0x7fc0 : rounded;
}
INLINE vec round_bfloat16(vec x) { return bits<vec>(bfloat16_bits(x) << 16); }
INLINE float round_bfloat16(float x) { return round_bfloat16(splat(x))[0]; }
INLINE halves bfloat16_packed(vec x) { return low_halves(bfloat16_bits(x)); }
INLINE void put(bfloat16* p, vec x) { const halves y = bfloat16_packed(x); __builtin_memcpy(p, &y, sizeof(y)); }
INLINE void stream(bfloat16* p, vec x) { stream_halves(p, bfloat16_packed(x)); }
INLINE bfloat16 narrowed(float x, bfloat16) { return bfloat16{static_cast<uint16_t>(bfloat16_bits(splat(x))[0])}; }
"""

FLOAT16 = r"""
struct float16 { uint16_t bits; };
#if LANES == 16 && defined(__AVX512F__)
INLINE vec widened(halves x) { return __builtin_ia32_vcvtph2ps512_mask(bits<shorts>(x), vec{}, -1, 4); }
INLINE halves float16_packed(vec x) { return bits<halves>(__builtin_ia32_vcvtps2ph512_mask(x, 0, shorts{}, -1)); }
#elif LANES == 8 && defined(__F16C__)
INLINE vec widened(halves x) { return __builtin_ia32_vcvtph2ps256(bits<shorts>(x)); }
INLINE halves float16_packed(vec x) { return bits<halves>(__builtin_ia32_vcvtps2ph256(x, 0)); }
#else
INLINE vec widened(halves x) { vec y; for (int k = 0; k < LANES; ++k) y[k] = static_cast<float>(bits<_Float16>(static_cast<uint16_t>(x[k]))); return y; }
INLINE halves float16_packed(vec x) { halves y; for (int k = 0; k < LANES; ++k) y[k] = bits<uint16_t>(static_cast<_Float16>(x[k])); return y; }
#endif
INLINE float widened(float16 x) { return widened(halves{x.bits})[0]; }
INLINE vec load(const float16* p) { halves x; __builtin_memcpy(&x, p, sizeof(x)); return widened(x); }
INLINE vec round_float16(vec x) { return widened(float16_packed(x)); }
INLINE float round_float16(float x) { return round_float16(splat(x))[0]; }
INLINE void put(float16* p, vec x) { const halves y = float16_packed(x); __builtin_memcpy(p, &y, sizeof(y)); }
INLINE void stream(float16* p, vec x) { stream_halves(p, float16_packed(x)); }
INLINE float16 narrowed(float x, float16) { return float16{float16_packed(splat(x))[0]}; }
"""

INT8 = r"""
typedef int8_t bytes VECTOR(int8_t);
INLINE float widened(int8_t x) { return x; }
INLINE vec load(const int8_t* p) { bytes x; __builtin_memcpy(&x, p, sizeof(x)); return __builtin_convertvector(__builtin_convertvector(x, ivec), vec); }
INLINE bytes int8_packed(vec x) {
  const ivec y = __builtin_convertvector(x, ivec);
#if LANES == 8 && defined(__AVX2__)
  const auto short_lanes = __builtin_ia32_packssdw128(__builtin_ia32_vextractf128_si256(y, 0), __builtin_ia32_vextractf128_si256(y, 1));
  const auto narrow = __builtin_ia32_packsswb128(short_lanes, short_lanes);
  bytes low;
  __builtin_memcpy(&low, &narrow, sizeof(low));
  return low;
#else
  return __builtin_convertvector(y, bytes);
#endif
}
INLINE void put(int8_t* p, vec x) { const bytes y = int8_packed(x); __builtin_memcpy(p, &y, sizeof(y)); }
INLINE void stream(int8_t* p, vec x) {
#if LANES == 16 && defined(__SSE2__)
  typedef long long words __attribute__((vector_size(16)));
  __builtin_ia32_movntdq(reinterpret_cast<words*>(p), bits<words>(int8_packed(x)));
#elif LANES == 8 && defined(__x86_64__)
  __builtin_ia32_movnti64(reinterpret_cast<long long*>(p), bits<long long>(int8_packed(x)));
#else
  put(p, x);
#endif
}
INLINE int8_t narrowed(float x, int8_t) { return static_cast<int8_t>(x); }
"""

BOOL = r"""
typedef int8_t truths VECTOR(int8_t);
INLINE bool widened(bool x) { return x; }
INLINE ivec load(const bool* p) { truths x; __builtin_memcpy(&x, p, sizeof(x)); return __builtin_convertvector(x, ivec) != 0; }
INLINE void put(bool* p, ivec x) { const truths y = __builtin_convertvector(x & 1, truths); __builtin_memcpy(p, &y, sizeof(y)); }
INLINE void stream(bool* p, ivec x) { put(p, x); }
INLINE bool narrowed(bool x, bool) { return x; }
"""

INTEGERS = r"""
INLINE int64_t widened(int64_t x) { return x; }
INLINE int64_t widened(int32_t x) { return x; }
template <class X, class T> INLINE T narrowed(X x, T) { return static_cast<T>(x); }
"""

FLOAT32_SCALAR = r"""
INLINE float widened(float x) { return x; }
INLINE float narrowed(float x, float) { return x; }
"""
