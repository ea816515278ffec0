/* How many floating-point operations a core can do at most: independent chains of multiply-adds, enough of them to hide
   the latency of each, on vectors as wide as the registers, with nothing read or written in between. */

#include <stdint.h>

#if PRECISION == 64
typedef double real;
#else
typedef float real;
#endif

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

/* The register class that a vector lives in, for the barrier that keeps the compiler from solving the recurrence. */
#if defined(__aarch64__)
#define REGISTER "w"
#elif defined(__AVX512F__)
#define REGISTER "v"
#else
#define REGISTER "x"
#endif

#define CHAINS 12
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

typedef real vector __attribute__((vector_size(BYTES)));

/* Returns the operations done: in each round a multiplication and an addition of every lane of every chain. */
int64_t peak(int64_t rounds, double *out) {
    vector chain[CHAINS], factor = (vector){0} + (real)0.999, term = (vector){0} + (real)0.001;
    UNROLL for (int c = 0; c < CHAINS; c++) chain[c] = (vector){0} + (real)c;
    for (int64_t round = 0; round < rounds; round++) {
        UNROLL for (int c = 0; c < CHAINS; c++) {
            chain[c] = chain[c] * factor + term;
            __asm__("" : "+" REGISTER(chain[c]));
        }
    }
    vector sum = {0};
    UNROLL for (int c = 0; c < CHAINS; c++) sum += chain[c];
    *out = sum[0];
    return rounds * CHAINS * (BYTES / (int64_t)sizeof(real)) * 2;
}
