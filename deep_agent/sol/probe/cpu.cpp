// Measures what one machine's threads can reach: DRAM rates by kind of access, and multiply-add peaks.
// Usage: probe <threads> <bytes per buffer> <seconds>; prints one JSON object of best rates a second.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

typedef float Floats __attribute__((vector_size(kVectorBytes)));
typedef double Doubles __attribute__((vector_size(kVectorBytes)));
typedef long long Words __attribute__((vector_size(kVectorBytes)));

// Stores that bypass the cache, where the ISA has them; elsewhere the compiler's plain store.
inline void stream(Doubles* to, Doubles value) {
#if defined(__AVX512F__)
  _mm512_stream_pd(reinterpret_cast<double*>(to), (__m512d)value);
#elif defined(__AVX__)
  _mm256_stream_pd(reinterpret_cast<double*>(to), (__m256d)value);
#elif defined(__SSE2__)
  _mm_stream_pd(reinterpret_cast<double*>(to), (__m128d)value);
#else
  *to = value;
#endif
}

inline void drain() {
#if defined(__SSE2__)
  _mm_sfence();
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::atomic<long long> g_sink{0};

// Runs body(thread, threads) on every thread at once; the clock runs from the common start to the last end.
double timed_s(int threads, const std::function<void(int)>& body) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> crew;
  for (int t = 1; t < threads; ++t)
    crew.emplace_back([&, t] {
      ready.fetch_add(1);
      while (!go.load(std::memory_order_acquire)) std::this_thread::yield();
      body(t);
    });
  while (ready.load() < threads - 1) std::this_thread::yield();
  const double start = now_s();
  go.store(true, std::memory_order_release);
  body(0);
  for (auto& member : crew) member.join();
  return now_s() - start;
}

template <typename Vector, typename Element>
double fma_per_s(int threads) {
  constexpr long kSteps = 400000;
  const double elapsed = timed_s(threads, [](int) {
    Vector a[12];
    for (int i = 0; i < 12; ++i) a[i] = Vector{} + Element(1 + i);
    Vector scale = Vector{} + Element(0.999);
    Vector shift = Vector{} + Element(0.001);
    // Without this the compiler would fold the loop: both operands must look unknown.
    asm volatile("" : "+m"(scale), "+m"(shift));
    for (long step = 0; step < kSteps; ++step)
      for (int i = 0; i < 12; ++i) a[i] = a[i] * scale + shift;
    Vector total = a[0];
    for (int i = 1; i < 12; ++i) total += a[i];
    g_sink.fetch_add(static_cast<long long>(total[0]));
  });
  return 12.0 * kSteps * threads * (kVectorBytes / sizeof(Element)) / elapsed;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int threads = std::atoi(argv[1]);
  const size_t vectors = std::strtoull(argv[2], nullptr, 10) / kVectorBytes / threads * threads;
  const double budget_s = std::atof(argv[3]);
  const size_t share = vectors / threads;
  Doubles* buffer[3];
  for (auto& b : buffer) {
    b = static_cast<Doubles*>(std::aligned_alloc(4096, (vectors * kVectorBytes + 4095) / 4096 * 4096));
    if (b == nullptr) return 3;
  }
  // First touch by the thread that will use the part, so that pages are near it.
  timed_s(threads, [&](int t) {
    for (auto* b : buffer)
      for (size_t i = t * share; i < (t + 1) * share; ++i) b[i] = Doubles{} + 1.0 * (i % 7);
  });

  const double bytes = double(vectors) * kVectorBytes;
  double read = 0, write = 0, copy = 0, triad = 0, fma32 = 0, fma64 = 0;
  const double start = now_s();
  int rounds = 0;
  do {
    double s = timed_s(threads, [&](int t) {
      const Words* from = reinterpret_cast<const Words*>(buffer[0]) + t * share;
      Words a{}, b{}, c{}, d{};
      size_t i = 0;
      for (; i + 4 <= share; i += 4) a ^= from[i], b ^= from[i + 1], c ^= from[i + 2], d ^= from[i + 3];
      for (; i < share; ++i) a ^= from[i];
      a ^= b ^ c ^ d;
      g_sink.fetch_add(a[0]);
    });
    read = std::max(read, bytes / s);
    s = timed_s(threads, [&](int t) {
      const Doubles value = Doubles{} + double(rounds);
      for (size_t i = t * share; i < (t + 1) * share; ++i) stream(buffer[2] + i, value);
      drain();
    });
    write = std::max(write, bytes / s);
    s = timed_s(threads, [&](int t) {
      for (size_t i = t * share; i < (t + 1) * share; ++i) stream(buffer[1] + i, buffer[0][i]);
      drain();
    });
    copy = std::max(copy, 2 * bytes / s);
    s = timed_s(threads, [&](int t) {
      for (size_t i = t * share; i < (t + 1) * share; ++i) stream(buffer[2] + i, buffer[0][i] + 3.0 * buffer[1][i]);
      drain();
    });
    triad = std::max(triad, 3 * bytes / s);
    fma32 = std::max(fma32, fma_per_s<Floats, float>(threads));
    fma64 = std::max(fma64, fma_per_s<Doubles, double>(threads));
    ++rounds;
  } while (rounds < 3 || now_s() - start < budget_s);

  std::printf(
      "{\"read\": %.6e, \"write\": %.6e, \"copy\": %.6e, \"triad\": %.6e, \"fma32\": %.6e, \"fma64\": %.6e, "
      "\"rounds\": %d, \"vector_bytes\": %d}\n",
      read, write, copy, triad, fma32, fma64, rounds, kVectorBytes);
  return 0;
}
