"""Owns the C++ text that generated kernels share: vectors, loads and stores by type, elementary functions.

A kernel gets only the sections it uses. The text is plain GNU C++17 on vector extensions; AVX, F16C and streaming
stores sit behind the macros of the instruction sets, so it builds for any processor.
"""

from collections.abc import Iterable

_BASE = r"""
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#define INLINE inline __attribute__((always_inline))

constexpr int64_t LANES = 8;  // elements handled by one vector operation
typedef float vec __attribute__((vector_size(32)));
typedef int32_t ivec __attribute__((vector_size(32)));   // integers, and truth values as 0 or -1
typedef uint32_t uvec __attribute__((vector_size(32)));

struct All {};            // a whole vector
struct Some { int64_t n; };  // its first n lanes: the ends of a row

INLINE vec splat(float x) { return vec{} + x; }
INLINE ivec splat(bool x) { return ivec{} - static_cast<int32_t>(x); }
INLINE vec splat(int64_t x) { return vec{} + static_cast<float>(x); }
INLINE ivec iota() { return ivec{0, 1, 2, 3, 4, 5, 6, 7}; }
template <class To, class From> INLINE To bits(From x) { To y; static_assert(sizeof(x) == sizeof(y), ""); __builtin_memcpy(&y, &x, sizeof(y)); return y; }

// The lanes that count keep their value, the others get one that changes nothing.
INLINE vec keep(vec x, All, float) { return x; }
INLINE vec keep(vec x, Some some, float otherwise) { return iota() < static_cast<int32_t>(some.n) ? x : splat(otherwise); }

template <class F> INLINE vec lanewise(vec x, F f) { for (int k = 0; k < LANES; ++k) x[k] = f(x[k]); return x; }

// Go over `width` columns: `head` of them first, so that the stores that follow are aligned, then U vectors a turn.
template <int U, class Body>
INLINE void sweep(int64_t head, int64_t width, Body body) {
  int64_t j = head < width ? head : width;
  if (j > 0) body(int64_t{0}, Some{j}, 0);
  for (; j + U * LANES <= width; j += U * LANES) {
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) body(j + u * LANES, All{}, u);
  }
  if (U > 1) for (; j + LANES <= width; j += LANES) body(j, All{}, 0);
  if (j < width) body(j, Some{width - j}, 0);
}

// Columns before the first place where a streaming store may go.
template <class T> INLINE int64_t columns_to_boundary(const T* p) {
  constexpr uintptr_t step = LANES * sizeof(T);
  return static_cast<int64_t>((step - reinterpret_cast<uintptr_t>(p) % step) % step / sizeof(T));
}
"""

_LOAD = r"""
template <class T> INLINE auto load(const T* p, All) { return load(p); }
template <class T> INLINE auto load(const T* p, Some some) {
  T part[LANES] = {};
  for (int64_t k = 0; k < some.n; ++k) part[k] = p[k];
  return load(part);
}
"""

_STORE = r"""
template <bool Streaming, class T, class V> INLINE void store(T* p, V x, All) {
  // A row that starts elsewhere than its neighbours may be unaligned: then the plain store is the right one.
  if (Streaming && reinterpret_cast<uintptr_t>(p) % (LANES * sizeof(T)) == 0) stream(p, x);
  else put(p, x);
}
template <bool Streaming, class T, class V> INLINE void store(T* p, V x, Some some) {
  T part[LANES];
  put(part, x);
  for (int64_t k = 0; k < some.n; ++k) p[k] = part[k];
}
"""

_FLOAT32 = r"""
INLINE vec load(const float* p) { vec x; __builtin_memcpy(&x, p, sizeof(x)); return x; }
INLINE void put(float* p, vec x) { __builtin_memcpy(p, &x, sizeof(x)); }
INLINE void stream(float* p, vec x) {
#ifdef __AVX__
  __builtin_ia32_movntps256(p, x);
#else
  put(p, x);
#endif
}
"""

_HALVES = r"""
typedef uint16_t halves __attribute__((vector_size(16)));
typedef long long two_words __attribute__((vector_size(16)));
INLINE void stream_halves(void* p, halves x) {
#ifdef __SSE2__
  __builtin_ia32_movntdq(static_cast<two_words*>(p), bits<two_words>(x));
#else
  __builtin_memcpy(p, &x, sizeof(x));
#endif
}
"""

_BFLOAT16 = r"""
struct bfloat16 { uint16_t bits; };
INLINE float widened(bfloat16 x) { return bits<float>(static_cast<uint32_t>(x.bits) << 16); }
INLINE vec load(const bfloat16* p) {
  halves x; __builtin_memcpy(&x, p, sizeof(x));
  return bits<vec>(__builtin_convertvector(x, uvec) << 16);
}
// Round to the nearest, ties to even; NaN stays NaN.
INLINE uvec bfloat16_bits(vec x) {
  const uvec whole = bits<uvec>(x);
  const uvec rounded = (whole + 0x7fff + ((whole >> 16) & 1)) >> 16;
  return x != x ? uvec{} + 0x7fc0 : rounded;
}
INLINE vec round_bfloat16(vec x) { return bits<vec>(bfloat16_bits(x) << 16); }
INLINE float round_bfloat16(float x) { return round_bfloat16(splat(x))[0]; }
INLINE halves bfloat16_packed(vec x) { return __builtin_convertvector(bfloat16_bits(x), halves); }
INLINE void put(bfloat16* p, vec x) { const halves y = bfloat16_packed(x); __builtin_memcpy(p, &y, sizeof(y)); }
INLINE void stream(bfloat16* p, vec x) { stream_halves(p, bfloat16_packed(x)); }
INLINE bfloat16 narrowed(float x, bfloat16) { return bfloat16{static_cast<uint16_t>(bfloat16_bits(splat(x))[0])}; }
"""

_FLOAT16 = r"""
struct float16 { uint16_t bits; };
#ifdef __F16C__
typedef short shorts __attribute__((vector_size(16)));
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

_INT8 = r"""
typedef int8_t bytes __attribute__((vector_size(8)));
INLINE float widened(int8_t x) { return x; }
INLINE vec load(const int8_t* p) { bytes x; __builtin_memcpy(&x, p, sizeof(x)); return __builtin_convertvector(__builtin_convertvector(x, ivec), vec); }
INLINE bytes int8_packed(vec x) { return __builtin_convertvector(__builtin_convertvector(x, ivec), bytes); }
INLINE void put(int8_t* p, vec x) { const bytes y = int8_packed(x); __builtin_memcpy(p, &y, sizeof(y)); }
INLINE void stream(int8_t* p, vec x) {
#ifdef __x86_64__
  __builtin_ia32_movnti64(reinterpret_cast<long long*>(p), bits<long long>(int8_packed(x)));
#else
  put(p, x);
#endif
}
INLINE int8_t narrowed(float x, int8_t) { return static_cast<int8_t>(x); }
"""

_BOOL = r"""
typedef int8_t truths __attribute__((vector_size(8)));
INLINE bool widened(bool x) { return x; }
INLINE ivec load(const bool* p) { truths x; __builtin_memcpy(&x, p, sizeof(x)); return __builtin_convertvector(x, ivec) != 0; }
INLINE void put(bool* p, ivec x) { const truths y = __builtin_convertvector(x & 1, truths); __builtin_memcpy(p, &y, sizeof(y)); }
INLINE void stream(bool* p, ivec x) { put(p, x); }
INLINE bool narrowed(bool x, bool) { return x; }
"""

_INTEGERS = r"""
INLINE int64_t widened(int64_t x) { return x; }
INLINE int64_t widened(int32_t x) { return x; }
template <class X, class T> INLINE T narrowed(X x, T) { return static_cast<T>(x); }
"""

_FLOAT32_SCALAR = r"""
INLINE float widened(float x) { return x; }
INLINE float narrowed(float x, float) { return x; }
"""

_LARGER = r"""
INLINE vec larger(vec a, vec b) {  // b where either is NaN
#ifdef __AVX__
  return __builtin_ia32_maxps256(a, b);
#else
  return a > b ? a : b;
#endif
}
INLINE vec smaller(vec a, vec b) {  // b where either is NaN
#ifdef __AVX__
  return __builtin_ia32_minps256(a, b);
#else
  return a < b ? a : b;
#endif
}
"""

_MAXIMUM = r"""
// NaN in either operand comes through.
INLINE vec maximum(vec a, vec b) { return a != a ? a : larger(a, b); }
INLINE vec minimum(vec a, vec b) { return a != a ? a : smaller(a, b); }
INLINE float maximum(float a, float b) { return a != a || a > b ? a : b; }
INLINE float minimum(float a, float b) { return a != a || a < b ? a : b; }
"""

_SUM = r"""
template <int U> INLINE float total(const vec (&part)[U]) {
  vec all = part[0];
  for (int u = 1; u < U; ++u) all += part[u];
  return ((all[0] + all[4]) + (all[2] + all[6])) + ((all[1] + all[5]) + (all[3] + all[7]));
}
"""

_EXTREME = r"""
template <int U> INLINE float highest(const vec (&part)[U]) {
  float best = part[0][0];
  for (int u = 0; u < U; ++u) for (int k = 0; k < LANES; ++k) best = maximum(best, part[u][k]);
  return best;
}
template <int U> INLINE float lowest(const vec (&part)[U]) {
  float best = part[0][0];
  for (int u = 0; u < U; ++u) for (int k = 0; k < LANES; ++k) best = minimum(best, part[u][k]);
  return best;
}
"""

_POSITION = r"""
struct Found { vec value; ivec column; };  // the highest of each lane and where it stood; NaN is above all
INLINE ivec counted(All) { return ivec{} - 1; }
INLINE ivec counted(Some some) { return iota() < static_cast<int32_t>(some.n); }
template <class L> INLINE void follow(Found& best, vec x, int64_t j, L lanes) {
  const ivec better = ((x > best.value) | ((x != x) & (best.value == best.value))) & counted(lanes);
  best.value = better ? x : best.value;
  best.column = better ? iota() + static_cast<int32_t>(j) : best.column;
}
template <int U> INLINE int64_t position(const Found (&part)[U]) {
  float top = part[0].value[0];
  int32_t column = part[0].column[0];
  for (int u = 0; u < U; ++u) for (int k = 0; k < LANES; ++k) {
    const float x = part[u].value[k];
    const bool above = x > top || (x != x && top == top);
    const bool equal = x == top || (x != x && top != top);
    if (above || (equal && part[u].column[k] < column)) { top = x; column = part[u].column[k]; }
  }
  return column;
}
"""

_EXP = r"""
// exp(x) = 2^n * exp(r), n the integer nearest x / ln 2. Adding 1.5 * 2^23 (and the exponent's bias, so that
// the low bits are the bits of 2^n) rounds; the polynomial is a minimax fit on [-ln 2 / 2, ln 2 / 2].
INLINE vec exp_polynomial(vec r) { @POLYNOMIAL@ }
// For x <= 0 or NaN; what is below 2^-126 becomes 0.
INLINE vec exp_falling(vec x) {
  x = larger(splat(-88.0f), x);
  const vec t = x * 1.44269504f + (12582912.0f + 127.0f);
  const vec r = x - (t - (12582912.0f + 127.0f)) * 0.693147180559945f;
  return exp_polynomial(r) * bits<vec>(bits<uvec>(t) << 23);
}
INLINE vec exp_any(vec x) {
  x = smaller(splat(89.0f), larger(splat(-87.5f), x));
  const vec t = x * 1.44269504f + (12582912.0f + 126.0f);  // 2^(n-1): 2^128 would be infinite too early
  const vec r = x - (t - (12582912.0f + 126.0f)) * 0.693147180559945f;
  const vec p = exp_polynomial(r);
  return (p + p) * bits<vec>(bits<uvec>(t) << 23);
}
INLINE float exp_any(float x) { return std::exp(x); }
INLINE float exp_falling(float x) { return std::exp(x); }
"""

_POLYNOMIALS = {
    "accurate": (
        "return 1.0f + r * (0.999999706f + r * (0.499991478f + r * (0.166676381f + r * (0.0418981596f + r * 0.00829027209f))));"
    ),
    "fast": "return 1.0f + r * (0.999966773f + r * (0.500030198f + r * (0.167875916f + r * 0.0415136828f)));",
}

_SIGMOID = r"""
template <class V> INLINE V sigmoid(V x) { return 1.0f / (1.0f + exp_any(-x)); }
"""

_TANH = r"""
// 1 - 2 / (exp(2x) + 1) cancels near 0; there the Taylor series to x^7 is exact to float32.
INLINE vec tanh_any(vec x) {
  const vec s = x * x;
  const vec near = x * (1.0f + s * (-0.333333333f + s * (0.133333333f + s * -0.0539682540f)));
  return (s < 0.04f) ? near : 1.0f - 2.0f / (exp_any(x + x) + 1.0f);
}
INLINE float tanh_any(float x) { return std::tanh(x); }
"""

_ERF = r"""
// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: absolute error below 1.5e-7.
INLINE vec erf_any(vec x) {
  const vec a = x < 0.0f ? -x : x;
  const vec t = 1.0f / (1.0f + 0.3275911f * a);
  const vec p = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  const vec y = 1.0f - p * exp_falling(-a * a);
  return x < 0.0f ? -y : y;
}
INLINE float erf_any(float x) { return std::erf(x); }
"""

_ROUNDING = r"""
#ifdef __AVX__
#define ROUNDED(mode, f) return __builtin_ia32_roundps256(x, mode)
#else
#define ROUNDED(mode, f) return lanewise(x, [](float y) { return f(y); })
#endif
INLINE vec to_nearest(vec x) { ROUNDED(8, std::nearbyint); }
INLINE vec to_floor(vec x) { ROUNDED(9, std::floor); }
INLINE vec to_ceil(vec x) { ROUNDED(10, std::ceil); }
INLINE vec to_zero(vec x) { ROUNDED(11, std::trunc); }
INLINE float to_nearest(float x) { return std::nearbyint(x); }
INLINE float to_floor(float x) { return std::floor(x); }
INLINE float to_ceil(float x) { return std::ceil(x); }
INLINE float to_zero(float x) { return std::trunc(x); }
"""

_ROOTS = r"""
INLINE vec root(vec x) {
#ifdef __AVX__
  return __builtin_ia32_sqrtps256(x);
#else
  return lanewise(x, [](float y) { return std::sqrt(y); });
#endif
}
INLINE float root(float x) { return std::sqrt(x); }
"""

_ABSOLUTE = r"""
INLINE vec absolute(vec x) { return bits<vec>(bits<uvec>(x) & 0x7fffffffu); }
INLINE float absolute(float x) { return std::fabs(x); }
"""

_LIBRARY = r"""
INLINE vec log_any(vec x) { return lanewise(x, [](float y) { return std::log(y); }); }
INLINE vec sin_any(vec x) { return lanewise(x, [](float y) { return std::sin(y); }); }
INLINE vec cos_any(vec x) { return lanewise(x, [](float y) { return std::cos(y); }); }
INLINE vec pow_any(vec x, vec y) { for (int k = 0; k < LANES; ++k) x[k] = std::pow(x[k], y[k]); return x; }
INLINE float log_any(float x) { return std::log(x); }
INLINE float sin_any(float x) { return std::sin(x); }
INLINE float cos_any(float x) { return std::cos(x); }
INLINE float pow_any(float x, float y) { return std::pow(x, y); }
"""

_PREFETCH = r"""
INLINE void prefetch(const void* p, int64_t bytes) { __builtin_prefetch(static_cast<const char*>(p) + bytes); }
"""

_SECTIONS = {
    "halves": _HALVES, "float32": _FLOAT32, "bfloat16": _BFLOAT16, "float16": _FLOAT16, "int8": _INT8, "bool": _BOOL,
    "integers": _INTEGERS, "float32_scalar": _FLOAT32_SCALAR, "load": _LOAD, "store": _STORE, "larger": _LARGER,
    "maximum": _MAXIMUM, "sum": _SUM, "extreme": _EXTREME, "position": _POSITION, "exp": _EXP, "sigmoid": _SIGMOID,
    "tanh": _TANH, "erf": _ERF, "rounding": _ROUNDING, "roots": _ROOTS, "absolute": _ABSOLUTE, "library": _LIBRARY,
    "prefetch": _PREFETCH,
}  # fmt: skip
"""In the order they stand in a kernel: what is used comes before what uses it."""

_NEEDS = {
    "bfloat16": ("halves",), "float16": ("halves",), "maximum": ("larger",), "extreme": ("maximum",),
    "exp": ("larger",), "sigmoid": ("exp",), "tanh": ("exp",), "erf": ("exp",),
}  # fmt: skip


def prelude(sections: Iterable[str], *, exp: str) -> str:
    """Give the shared text with the named sections and what they need.

    Args:
        sections: keys of the table of sections.
        exp: which polynomial the exponential uses, `accurate` or `fast`.
    """
    wanted = set(sections)
    for section in tuple(wanted):
        wanted.update(_with_needs(section))
    text = _BASE + "".join(body for name, body in _SECTIONS.items() if name in wanted)
    return text.replace("@POLYNOMIAL@", _POLYNOMIALS[exp])


def _with_needs(section: str) -> set[str]:
    found = {section}
    for need in _NEEDS.get(section, ()):
        found |= _with_needs(need)
    return found
