"""Owns the C++ text for reductions of vectors and for elementary functions in float32."""

LARGER = r"""
INLINE vec larger(vec a, vec b) {  // b where either is NaN
#if LANES == 16 && defined(__AVX512F__)
  return __builtin_ia32_maxps512_mask(a, b, vec{}, -1, 4);
#elif LANES == 8 && defined(__AVX__)
  return __builtin_ia32_maxps256(a, b);
#else
  return a > b ? a : b;
#endif
}
INLINE vec smaller(vec a, vec b) {  // b where either is NaN
#if LANES == 16 && defined(__AVX512F__)
  return __builtin_ia32_minps512_mask(a, b, vec{}, -1, 4);
#elif LANES == 8 && defined(__AVX__)
  return __builtin_ia32_minps256(a, b);
#else
  return a < b ? a : b;
#endif
}
"""

MAXIMUM = r"""
// NaN in either operand comes through.
INLINE vec maximum(vec a, vec b) { return a != a ? a : larger(a, b); }
INLINE vec minimum(vec a, vec b) { return a != a ? a : smaller(a, b); }
INLINE float maximum(float a, float b) { return a != a || a > b ? a : b; }
INLINE float minimum(float a, float b) { return a != a || a < b ? a : b; }
"""

SUM = r"""
template <int U> INLINE float total(const vec (&part)[U]) {
  vec all = part[0];
  for (int u = 1; u < U; ++u) all += part[u];
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) all[k] += all[k + half];
  return all[0];
}
"""

EXTREME = r"""
template <int U> INLINE float highest(const vec (&part)[U]) {
  vec all = part[0];
  for (int u = 1; u < U; ++u) all = maximum(all, part[u]);
  float best = all[0];
  for (int k = 1; k < LANES; ++k) best = maximum(best, all[k]);
  return best;
}
template <int U> INLINE float lowest(const vec (&part)[U]) {
  vec all = part[0];
  for (int u = 1; u < U; ++u) all = minimum(all, part[u]);
  float best = all[0];
  for (int k = 1; k < LANES; ++k) best = minimum(best, all[k]);
  return best;
}
"""

POSITION = r"""
struct Found { vec value; ivec column; };  // the highest of each lane and where it stood first; NaN is above all
INLINE ivec counted(All) { return ivec{} - 1; }
INLINE ivec counted(Some some) { return first(some.n); }
INLINE ivec is_above(vec x, vec top) { return (x > top) | ((x != x) & (top == top)); }
template <class L> INLINE void follow(Found& best, vec x, int64_t j, L lanes) {
  const ivec better = is_above(x, best.value) & counted(lanes);
  best.value = better ? x : best.value;
  best.column = better ? iota() + static_cast<int32_t>(j) : best.column;
}
template <int U> INLINE int64_t position(const Found (&part)[U]) {
  Found all = part[0];
  for (int u = 1; u < U; ++u) {
    const ivec above = is_above(part[u].value, all.value), below = is_above(all.value, part[u].value);
    const ivec better = above | (~below & (part[u].column < all.column));
    all.value = better ? part[u].value : all.value;
    all.column = better ? part[u].column : all.column;
  }
  int best = 0;
  for (int k = 1; k < LANES; ++k) {
    const float x = all.value[k], top = all.value[best];
    const bool above = x > top || (x != x && top == top), equal = x == top || (x != x && top != top);
    if (above || (equal && all.column[k] < all.column[best])) best = k;
  }
  return all.column[best];
}
"""

EXP = r"""
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

POLYNOMIALS = {
    "accurate": (
        "return 1.0f + r * (0.999999706f + r * (0.499991478f + r * (0.166676381f + r * (0.0418981596f + r * 0.00829027209f))));"
    ),
    "fast": "return 1.0f + r * (0.999966773f + r * (0.500030198f + r * (0.167875916f + r * 0.0415136828f)));",
}

SIGMOID = r"""
template <class V> INLINE V sigmoid(V x) { return 1.0f / (1.0f + exp_any(-x)); }
"""

TANH = r"""
// 1 - 2 / (exp(2x) + 1) cancels near 0; there the Taylor series to x^7 is exact to float32.
INLINE vec tanh_any(vec x) {
  const vec s = x * x;
  const vec near = x * (1.0f + s * (-0.333333333f + s * (0.133333333f + s * -0.0539682540f)));
  return (s < 0.04f) ? near : 1.0f - 2.0f / (exp_any(x + x) + 1.0f);
}
INLINE float tanh_any(float x) { return std::tanh(x); }
"""

ERF = r"""
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

ROUNDING = r"""
#if LANES == 16 && defined(__AVX512F__)
#define ROUNDED(mode, f) return __builtin_ia32_rndscaleps_mask(x, mode, vec{}, -1, 4)
#elif LANES == 8 && defined(__AVX__)
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

ROOTS = r"""
INLINE vec root(vec x) {
#if LANES == 16 && defined(__AVX512F__)
  return __builtin_ia32_sqrtps512_mask(x, vec{}, -1, 4);
#elif LANES == 8 && defined(__AVX__)
  return __builtin_ia32_sqrtps256(x);
#else
  return lanewise(x, [](float y) { return std::sqrt(y); });
#endif
}
INLINE float root(float x) { return std::sqrt(x); }
"""

ABSOLUTE = r"""
INLINE vec absolute(vec x) { return bits<vec>(bits<uvec>(x) & 0x7fffffffu); }
INLINE float absolute(float x) { return std::fabs(x); }
"""

LIBRARY = r"""
INLINE vec log_any(vec x) { return lanewise(x, [](float y) { return std::log(y); }); }
INLINE vec sin_any(vec x) { return lanewise(x, [](float y) { return std::sin(y); }); }
INLINE vec cos_any(vec x) { return lanewise(x, [](float y) { return std::cos(y); }); }
INLINE vec pow_any(vec x, vec y) { for (int k = 0; k < LANES; ++k) x[k] = std::pow(x[k], y[k]); return x; }
INLINE float log_any(float x) { return std::log(x); }
INLINE float sin_any(float x) { return std::sin(x); }
INLINE float cos_any(float x) { return std::cos(x); }
INLINE float pow_any(float x, float y) { return std::pow(x, y); }
"""

PREFETCH = r"""
INLINE void prefetch(const void* p, int64_t bytes) { __builtin_prefetch(static_cast<const char*>(p) + bytes); }
"""
