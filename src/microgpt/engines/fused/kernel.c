/* The fused engine's kernel: forward, backward and Adam of the whole model, compiled for one shape.

   Constants come from the compiler's command line (defines() in engine.py):
     VOCABULARY, EMB, HEAD, LAYER, CTX, WIDE   the model's sizes; EMB is a multiple of HEAD, WIDE the MLP's width
     NORM_EMBEDDINGS, NORM_HEAD                1 where the norm stands, else 0
     ROTARY, SWIGLU                            1 where positions turn queries and keys, and where the MLP has gates
     PRECISION                                 32 or 64, the bits of a `real`
     EPSILON_NORM, EPSILON_ADAM                those of RMSNorm and of Adam
     ROTARY_BASE                               of the angles
     ALIGNMENT, MOST_THREADS                   bytes that memory is aligned to; threads at most
     KNOWN                                     the tokens in use, VOCABULARY unless a kernel serves smaller ones too

   Sections: numbers and vectors; sizes and memory; products; linear; RMSNorm; embeddings; rotation; attention in two
   forms; cross-entropy; the model; chunks and slots; Adam; writing; a team of threads; what Python calls.

   Attention. The sizes decide at compile time (PACKED_HEADS) which of two forms runs:
     packed heads     where a vector holds whole heads and CTX is 32 or less: a score is the product of two vectors,
                      summed over the lanes of each head;
     separate heads   elsewhere: each head by itself, its scores as a product of matrices.

   Vectors. All arithmetic is on vectors of LANES reals, as wide as the target's registers. Every width (EMB, WIDE,
   VOCABULARY) is padded to whole vectors with zeros, which stay zeros: their gradient is zero, and so is what
   Adam makes of it.

   Panels. A table is cut into panels of LANES columns, and a panel holds its rows one after another:
     an activation x (rows, width) is          real x[width / LANES][ROWS][LANES]
     a matrix w (out x in in the ledger) is    real w[out / LANES][in][LANES]
   So a product reads both as streams: y[t] += x[t][i] * w[i] is one broadcast and one multiply-add for LANES outputs,
   with no sums across lanes, and no stride is a power of two that would fight over a few lines of the cache. A square of
   LANES x LANES numbers of a matrix, a tile, is contiguous, and a transposed matrix is made of transposed tiles. The
   backward pass needs each matrix transposed as well; Adam writes both as it updates a tile.

   Rows. The documents of a step are packed into a chunk of up to ROWS rows, a row for each prediction; only attention
   needs to know where a document begins. Rows beyond the last may hold anything, and nobody reads what comes of them.

   Slots. The documents of a step are dealt to slots, fixed by the size of the batch and the model's sizes alone. Each
   slot sums its partial gradient, slots are summed in their order, and threads take slots as they come: so the result
   is bitwise the same for any number of threads.

   Writing. A row is a document's newest token, so linear layers and norms serve a chunk of documents as they serve one
   of training. Only attention differs: each row looks at its own document's keys and values, which are kept. No sum
   depends on the other rows: a document comes out bitwise the same, whatever it is written with.

   There is no global state: whoever calls brings the memory. */

#include <stdatomic.h>
#include <stdint.h>
#if !defined(__wasm__) /* there web.c, which stands before this file, brings what it needs of the others */
#include <math.h>
#include <string.h>
#endif

#if defined(_WIN32) /* by its own threads: POSIX's are in none of its libraries, and would be one more to find */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#define PUBLIC __declspec(dllexport)
#define sched_yield SwitchToThread
typedef HANDLE pthread_t;

static int pthread_create(pthread_t *thread, const void *kind, void *(*work)(void *), void *argument) {
    *thread = CreateThread(NULL, 0, (LPTHREAD_START_ROUTINE)(void *)work, argument, 0, NULL);
    return (void)kind, !*thread;
}

static void pthread_join(pthread_t thread, void **result) {
    WaitForSingleObject(thread, INFINITE), CloseHandle(thread), (void)result;
}

/* A long has 32 bits: a model whose offsets need more is refused. */
#if defined(__clang__)
#pragma clang diagnostic error "-Winteger-overflow"
#else
#pragma GCC diagnostic error "-Woverflow"
#endif
#elif !defined(__wasm__)
#include <pthread.h>
#include <sched.h>
#endif
#if !defined(PUBLIC)
#define PUBLIC
#endif

/* ── Numbers and vectors ─────────────────────────────────────────────────────────────────────────────────────────── */

#if PRECISION == 64
typedef double real;
typedef int64_t bits; /* an integer as wide as a real */
#define MANTISSA 52
#define EXPONENT_BIAS 1023
#define EXP_DEGREE 13       /* ln2/2 to the 14th over 14! is 4e-18 */
#define EXP_LOWEST (-708.0) /* below, exp is no longer a normal number */
#define REAL_MAX 1.7976931348623157e308
#define LN2_HIGH 0.693147180369123816490 /* ends in zeros: n * LN2_HIGH is exact */
#define LN2_LOW 1.90821492927058770002e-10
#else
typedef float real;
typedef int32_t bits;
#define MANTISSA 23
#define EXPONENT_BIAS 127
#define EXP_DEGREE 7 /* ln2/2 to the 8th over 8! is 5e-9 */
#define EXP_LOWEST (-87.0f)
#define REAL_MAX 3.4028234663852886e38
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16 /* SSE2, NEON */
#endif
#define LANES (VECTOR_BYTES / (PRECISION / 8))

/* A register block: as many sums as hide the latency of a multiply-add and still fit the registers. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define BLOCK_ROWS 8 /* of 32 registers */
#define BLOCK_PANELS 3
#elif defined(__AVX__)
#define BLOCK_ROWS 4 /* of 16 registers */
#define BLOCK_PANELS 3
#else
#define BLOCK_ROWS 4 /* of 16 registers, and a product needs one more where there is no fused multiply-add */
#define BLOCK_PANELS 2
#endif
#define BLOCK_INPUTS (LANES < BLOCK_ROWS ? LANES : BLOCK_ROWS)

typedef real vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef bits mask __attribute__((vector_size(VECTOR_BYTES), may_alias)); /* of comparisons: all ones where true */

#define INLINE static inline __attribute__((always_inline))
#define SEPARATE static __attribute__((noinline)) /* one copy, however many callers: compiles quickly */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16") /* without it, small arrays of vectors stay in memory */
#endif

/* Lists of lanes, for shuffles: LIST(f, s) is f(0, s), f(1, s), … for every lane. */
#define LIST2(f, s) f(0, s), f(1, s)
#define LIST4(f, s) LIST2(f, s), f(2, s), f(3, s)
#define LIST8(f, s) LIST4(f, s), f(4, s), f(5, s), f(6, s), f(7, s)
#define LIST16(f, s) \
    LIST8(f, s), f(8, s), f(9, s), f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#if VECTOR_BYTES * 8 == 16 * PRECISION
#define LIST LIST16
#elif VECTOR_BYTES * 8 == 8 * PRECISION
#define LIST LIST8
#elif VECTOR_BYTES * 8 == 4 * PRECISION
#define LIST LIST4
#else
#define LIST LIST2
#endif
#define SAME(lane, s) (lane)
#define PARTNER(lane, s) ((lane) ^ (s))
#define EVEN(lane, s) ((lane) & (s) ? LANES + (lane) - (s) : (lane)) /* a's even groups of s, b's between them */
#define ODD(lane, s) ((lane) & (s) ? LANES + (lane) : (lane) + (s))

#if defined(__clang__)
#define SHUFFLE(a, b, f, s) __builtin_shufflevector(a, b, LIST(f, s))
#else
#define SHUFFLE(a, b, f, s) __builtin_shuffle(a, b, (mask){LIST(f, s)})
#endif

INLINE vector load(const real *p) { return *(const vector *)p; }
INLINE void store(real *p, vector v) { *(vector *)p = v; }
INLINE vector all(real x) { return x - (vector){0}; }
INLINE vector select(mask m, vector yes, vector no) { return (vector)((m & (mask)yes) | (~m & (mask)no)); }
INLINE vector larger(vector a, vector b) { return select(a > b, a, b); }
#define SIGN ((bits)((uint64_t)1 << (PRECISION - 1)))
INLINE vector absolute(vector v) { return (vector)((mask)v & ~SIGN); }
INLINE mask lanes_up_to(long last) { return (mask){LIST(SAME, 0)} <= (bits)last; }
INLINE mask lanes_below(long count) { return lanes_up_to(count - 1); }

/* The sum and the largest of all lanes, by halves: the order is the same on every run. */
INLINE real sum(vector v) {
    if (LANES > 8) v += SHUFFLE(v, v, PARTNER, 8 % LANES);
    if (LANES > 4) v += SHUFFLE(v, v, PARTNER, 4 % LANES);
    if (LANES > 2) v += SHUFFLE(v, v, PARTNER, 2 % LANES);
    v += SHUFFLE(v, v, PARTNER, 1);
    return v[0];
}

INLINE real largest(vector v) {
    if (LANES > 8) v = larger(v, SHUFFLE(v, v, PARTNER, 8 % LANES));
    if (LANES > 4) v = larger(v, SHUFFLE(v, v, PARTNER, 4 % LANES));
    if (LANES > 2) v = larger(v, SHUFFLE(v, v, PARTNER, 2 % LANES));
    v = larger(v, SHUFFLE(v, v, PARTNER, 1));
    return v[0];
}

/* The square root has no operator; each instruction set has an instruction. */
INLINE vector square_root(vector v) {
#if defined(__AVX__) && PRECISION == 64
    __asm__("vsqrtpd %1, %0" : "=v"(v) : "v"(v));
#elif defined(__AVX__)
    __asm__("vsqrtps %1, %0" : "=v"(v) : "v"(v));
#elif defined(__aarch64__) && PRECISION == 64
    __asm__("fsqrt %0.2d, %1.2d" : "=w"(v) : "w"(v));
#elif defined(__aarch64__)
    __asm__("fsqrt %0.4s, %1.4s" : "=w"(v) : "w"(v));
#elif defined(__wasm__)
    v = __builtin_elementwise_sqrt(v);
#else
    for (int lane = 0; lane < LANES; lane++) v[lane] = PRECISION == 64 ? sqrt(v[lane]) : sqrtf(v[lane]);
#endif
    return v;
}

/* e^x for x <= 0: 2^n e^r with n whole and |r| <= ln2 / 2, to rounding. Adding 1.5 * 2^MANTISSA rounds to a whole
   number and leaves it in the lowest bits, from where it is shifted into the exponent. */
INLINE vector exponential(vector x) {
    static const real one_over_factorial[] = {
        1.0,           1.0,            1.0 / 2,         1.0 / 6,           1.0 / 24,
        1.0 / 120,     1.0 / 720,      1.0 / 5040,      1.0 / 40320,       1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    const vector shift = all((real)(1.5 * ((int64_t)1 << MANTISSA)));
    vector shifted = x * (real)1.44269504088896340736 + shift, n = shifted - shift;
    vector r = x - n * LN2_HIGH - n * LN2_LOW;
    vector y = all(one_over_factorial[EXP_DEGREE]);
    UNROLL for (int k = EXP_DEGREE - 1; k >= 0; k--) y = y * r + one_over_factorial[k];
    y *= (vector)(((mask)shifted + EXPONENT_BIAS) << MANTISSA);
    return select(x < EXP_LOWEST, all(0), y); /* NaN is not below, and stays NaN */
}

/* σ(x) = 1 / (1 + e^-x), with no power that can overflow. */
INLINE vector sigmoid(vector x) {
    const vector power = exponential(-absolute(x));
    return select(x < 0, power, all(1)) / (1 + power);
}

/* ── Sizes and memory ────────────────────────────────────────────────────────────────────────────────────────────── */

#define HEAD_SIZE (EMB / HEAD)
#define PANELS(n) (((n) + LANES - 1) / LANES)
#define EMB_PANELS PANELS(EMB)
#define WIDE_PANELS PANELS(WIDE)
#define VOCABULARY_PANELS PANELS(VOCABULARY)
#if !defined(KNOWN)
#define KNOWN VOCABULARY
#endif
#define KNOWN_PANELS PANELS(KNOWN) /* what is computed; VOCABULARY says how memory is laid out */
#define HEAD_PANELS PANELS(HEAD_SIZE)
#define CTX_PANELS PANELS(CTX)
#define PADDED_EMB (EMB_PANELS * LANES)
#define PADDED_WIDE (WIDE_PANELS * LANES)
#define PADDED_VOCABULARY (VOCABULARY_PANELS * LANES)

/* Packed at once: enough that a weight is worth fetching, few enough that activations stay close by. */
#define CHUNK_ROWS (CTX <= 32 ? 128 : 256)
#define MOST_ROWS (CTX > CHUNK_ROWS ? CTX : CHUNK_ROWS)
#define ROWS (((long)MOST_ROWS + 7) / 8 * 8 + 24)   /* blocks and tiles may reach beyond; 24 breaks powers of two */
#define PANEL (ROWS * LANES)                        /* from a panel of an activation to the next */

/* The weights, in their native order, as offsets in reals. The same order holds for m, v and each gradient. */
#define WTE 0L                                                  /* [VOCABULARY][PADDED_EMB] */
#define WPE (WTE + (long)VOCABULARY * PADDED_EMB)               /* [CTX][PADDED_EMB]; none where rotary */
#define LM_HEAD (WPE + (ROTARY ? 0L : (long)CTX * PADDED_EMB))  /* from here on matrices of tiles */
#define LAYERS (LM_HEAD + (long)PADDED_EMB * PADDED_VOCABULARY)
#define QKV 0L                                          /* the offsets within a layer */
#define WO (QKV + 3L * PADDED_EMB * PADDED_EMB)
#define FC1 (WO + (long)PADDED_EMB * PADDED_EMB)
#define FC1_PARTS (SWIGLU ? 2 : 1)                      /* the gates, and what they are multiplied with */
#define FC2 (FC1 + (long)FC1_PARTS * PADDED_EMB * PADDED_WIDE)
#define LAYER_SIZE (FC2 + (long)PADDED_WIDE * PADDED_EMB)
#define PARAMS (LAYERS + LAYER * LAYER_SIZE)
#define LAYER_AT(layer) (LAYERS + (layer) * LAYER_SIZE)

typedef real Panel[ROWS][LANES] __attribute__((aligned(VECTOR_BYTES)));

#define PACKED_HEADS (LANES % HEAD_SIZE == 0 && CTX <= 32)
#define ATTENTION_SCALE ((real)(1.0 / sqrt((double)HEAD_SIZE)))
#define MOST_PAIRS (MOST_ROWS * (CTX + 1) / 2) /* of a query's row and a key's, in all documents of a chunk */
typedef real Pairs[MOST_PAIRS + CTX][LANES] __attribute__((aligned(VECTOR_BYTES)));

/* What a layer keeps of the forward pass for the backward pass. */
typedef struct {
    Panel norm_attention[EMB_PANELS];
    Panel qkv[3 * EMB_PANELS];            /* queries, keys, values */
#if PACKED_HEADS
    Pairs exponentials[EMB_PANELS];       /* exp(score - peak) of each pair and head: attention weights, before */
    Panel normaliser[EMB_PANELS];         /* they are multiplied by the softmax normaliser of their row */
#else
    Panel attention[HEAD][CTX_PANELS];    /* row t, column u: the attention weight of query t on key u */
#endif
    Panel attention_output[EMB_PANELS];
    Panel norm_mlp[EMB_PANELS];
#if SWIGLU
    Panel expanded[2 * WIDE_PANELS];      /* before the activation */
#endif
    Panel hidden[WIDE_PANELS];            /* after it */
    real scale_attention[ROWS], scale_mlp[ROWS]; /* of the norms */
} Layer;

/* All that a slot works on: one chunk of documents. */
typedef struct {
    int32_t input[ROWS], target[ROWS], position[ROWS];
    int32_t first[ROWS + 1]; /* row where each document begins; one more is the end */
    int32_t pair[ROWS];      /* first of the pairs of each row, where heads are packed */
    long documents;
    real loss_weight[ROWS];  /* of a prediction */
    real peak[ROWS];         /* of each row: the largest logit, */
    real total[ROWS];        /* Σ exp(logits - peak), */
    real target_logit[ROWS]; /* and the target's logit less the peak */
    double mass[ROWS];       /* of a row that is drawn from: the weights' total */
    Panel stream[EMB_PANELS]; /* the residual stream, and its gradient on the way back */
    Panel embedding[EMB_PANELS], final[EMB_PANELS]; /* after the norms that may stand there */
    real scale_embedding[ROWS], scale_final[ROWS];
    Panel logits[VOCABULARY_PANELS]; /* and their gradient */
    Panel d_qkv[3 * EMB_PANELS], d_branch[EMB_PANELS], d_hidden[FC1_PARTS * WIDE_PANELS];
#if !PACKED_HEADS
    Panel d_scores[CTX_PANELS];
    Panel head[7][HEAD_PANELS]; /* a head's columns of seven tables, where its numbers don't fill whole vectors */
    /* Keys or values of a head, transposed. */
    real transposed[(long)CTX_PANELS * LANES * HEAD_PANELS * LANES] __attribute__((aligned(VECTOR_BYTES)));
#endif
    Layer layer[LAYER];
} Activations;

/* Cosines and sines repeat from head to head: after so many columns. */
#define HEADS_FILL_VECTORS (LANES % HEAD_SIZE == 0)
#define TURN_COLUMNS (HEADS_FILL_VECTORS ? LANES : HEAD_SIZE)
#define TURN_WIDTH (PANELS(TURN_COLUMNS) * LANES)

typedef struct {
    int64_t step; /* steps done; the number of the next one */
#if ROTARY
    real cosine[CTX][TURN_WIDTH] __attribute__((aligned(ALIGNMENT)));
    real sine[CTX][TURN_WIDTH] __attribute__((aligned(ALIGNMENT))); /* less than zero for the first of each pair */
#endif
    real weights[PARAMS] __attribute__((aligned(ALIGNMENT)));
    real m[PARAMS] __attribute__((aligned(ALIGNMENT)));
    real v[PARAMS] __attribute__((aligned(ALIGNMENT)));
} State;

typedef struct {
    real gradient[PARAMS] __attribute__((aligned(ALIGNMENT))); /* zero between calls and steps */
    Activations activations __attribute__((aligned(ALIGNMENT)));
    double loss;
} Slot;

typedef struct {
    real transposed[PARAMS - LM_HEAD] __attribute__((aligned(ALIGNMENT))); /* each matrix at its offset, less LM_HEAD */
    Slot slot[];
} Workspace;

/* ── Products ────────────────────────────────────────────────────────────────────────────────────────────────────── */

typedef enum { PLAIN, RELU, RELU_BACKWARD } Finish;

/* How many panels to take at a time: as many as the registers hold, but one alone only where there is but one. */
INLINE int next_panels(long panels) {
    return BLOCK_PANELS >= 3 && panels >= 3 && panels != 4 ? 3 : panels >= 2 ? 2 : 1;
}

/* A few rows of a product, all sums in registers: y[r] = base[r] + Σ_i x[r][i] w[i], in so many panels. */
INLINE void product_block(const int rows, const int panels, long in, const real *x, long x_panel, const real *w,
                          long w_panel, const real *base, real *y, long y_panel, Finish finish, const real *passed) {
    vector sums[BLOCK_ROWS][BLOCK_PANELS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < panels; p++) sums[r][p] = (vector){0};
    for (; in > 0; in -= LANES, x += x_panel) {
        const long lanes = in < LANES ? in : LANES;
        for (long lane = 0; lane < lanes; lane++, w += LANES) {
            vector weights[BLOCK_PANELS];
            UNROLL for (int p = 0; p < panels; p++) weights[p] = load(w + p * w_panel);
            UNROLL for (int r = 0; r < rows; r++) {
                const real number = x[r * LANES + lane];
                UNROLL for (int p = 0; p < panels; p++) sums[r][p] += number * weights[p];
            }
        }
    }
    if (base) /* last, so that a long sum can be made of shorter ones, each rounded less */
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int p = 0; p < panels; p++) sums[r][p] += load(base + p * y_panel + r * LANES);
    if (finish == RELU) {
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int p = 0; p < panels; p++) sums[r][p] = select(sums[r][p] < 0, all(0), sums[r][p]);
    } else if (finish == RELU_BACKWARD) {
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int p = 0; p < panels; p++)
                sums[r][p] = select(load(passed + p * y_panel + r * LANES) > 0, sums[r][p], all(0));
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < panels; p++) store(y + p * y_panel + r * LANES, sums[r][p]);
}

/* y = base + x w for rows x in, in x (panels * LANES); base may be NULL, or y itself. ReLU comes for free on the way to
   memory; backward it passes the gradient where `passed` is above zero. Distances between panels are in reals. */
SEPARATE void product(long rows, long in, long panels, const real *x, long x_panel, const real *w, long w_panel,
                      const real *base, real *y, long y_panel, Finish finish, const real *passed) {
    while (panels) {
        const int width = next_panels(panels);
        for (long r = 0; r < rows; r += BLOCK_ROWS) {
            const int half = rows - r <= BLOCK_ROWS / 2;
            const real *from = base ? base + r * LANES : base, *gate = passed ? passed + r * LANES : passed;
#define BLOCK(rows, panels) \
    product_block(rows, panels, in, x + r * LANES, x_panel, w, w_panel, from, y + r * LANES, y_panel, finish, gate)
            if (width == 2) {
                if (half) BLOCK(BLOCK_ROWS / 2, 2); else BLOCK(BLOCK_ROWS, 2);
            } else if (width == 1) {
                if (half) BLOCK(BLOCK_ROWS / 2, 1); else BLOCK(BLOCK_ROWS, 1);
            } else {
#if BLOCK_PANELS >= 3
                if (half) BLOCK(BLOCK_ROWS / 2, 3); else BLOCK(BLOCK_ROWS, 3);
#endif
            }
#undef BLOCK
        }
        panels -= width;
        w += width * w_panel, y += width * y_panel;
        if (base) base += width * y_panel;
        if (passed) passed += width * y_panel;
    }
}

/* A few rows of the sum of outer products: d_w[i] += Σ_t x[t][i] d_y[t]. */
INLINE void outer_block(const int panels, long rows, const real *x, const real *d_y, long y_panel, real *d_w,
                        long w_panel, int accumulate) {
    vector sums[BLOCK_INPUTS][BLOCK_PANELS];
    UNROLL for (int i = 0; i < BLOCK_INPUTS; i++)
        UNROLL for (int p = 0; p < panels; p++)
            sums[i][p] = accumulate ? load(d_w + p * w_panel + i * LANES) : (vector){0};
    for (long t = 0; t < rows; t++) {
        vector slopes[BLOCK_PANELS];
        UNROLL for (int p = 0; p < panels; p++) slopes[p] = load(d_y + p * y_panel + t * LANES);
        UNROLL for (int i = 0; i < BLOCK_INPUTS; i++) {
            const real number = x[t * LANES + i];
            UNROLL for (int p = 0; p < panels; p++) sums[i][p] += number * slopes[p];
        }
    }
    UNROLL for (int i = 0; i < BLOCK_INPUTS; i++)
        UNROLL for (int p = 0; p < panels; p++) store(d_w + p * w_panel + i * LANES, sums[i][p]);
}

/* d_w (+)= xᵀ d_y, the gradient of a matrix: x is rows x in, d_y is rows x (panels * LANES). */
SEPARATE void outer(long rows, long in, long panels, const real *x, long x_panel, const real *d_y, long y_panel,
                    real *d_w, long w_panel, int accumulate) {
    while (panels) {
        const int width = next_panels(panels);
        for (long i = 0; i < in; i += BLOCK_INPUTS) {
            const real *column = x + i / LANES * x_panel + i % LANES;
            real *row = d_w + i * LANES;
            if (width == 2) outer_block(2, rows, column, d_y, y_panel, row, w_panel, accumulate);
            else if (width == 1) outer_block(1, rows, column, d_y, y_panel, row, w_panel, accumulate);
#if BLOCK_PANELS >= 3
            else outer_block(3, rows, column, d_y, y_panel, row, w_panel, accumulate);
#endif
        }
        panels -= width;
        d_y += width * y_panel, d_w += width * w_panel;
    }
}

/* One tile, transposed: rows a distance of s apart trade places with columns as far apart, s = 1, 2, 4, …. */
#define TRADE(s)                                                                \
    if (LANES > s) {                                                            \
        UNROLL for (int r = 0; r < LANES; r++) if (!(r & s)) {                  \
            const vector a = row[r], b = row[r | (s % LANES)];                  \
            row[r] = SHUFFLE(a, b, EVEN, s % LANES);                            \
            row[r | (s % LANES)] = SHUFFLE(a, b, ODD, s % LANES);               \
        }                                                                       \
    }
INLINE void transpose_tile(const real *from, real *to) {
    vector row[LANES];
    UNROLL for (int r = 0; r < LANES; r++) row[r] = load(from + r * LANES);
    TRADE(1) TRADE(2) TRADE(4) TRADE(8)
    UNROLL for (int r = 0; r < LANES; r++) store(to + r * LANES, row[r]);
}

/* ── Linear ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* y = base + x w. */
INLINE void linear(long rows, long in, long out_panels, const real *x, const real *w, const real *base, real *y,
                   Finish finish) {
    product(rows, in, out_panels, x, PANEL, w, PANELS(in) * LANES * LANES, base, y, PANEL, finish, NULL);
}

#define LONGEST_SUM 512 /* products over more inputs, a vocabulary of thousands for one, are made of such parts */

/* d_w += xᵀ d_y; and d_x = d_y wᵀ, where `passed` (if any) is above zero. */
INLINE void linear_backward(long rows, long in, long out, const real *x, const real *d_y, const real *w_transposed,
                            real *d_w, real *d_x, const real *passed) {
    outer(rows, in, PANELS(out), x, PANEL, d_y, PANEL, d_w, PANELS(in) * LANES * LANES, 1);
    for (long first = 0; first < out; first += LONGEST_SUM) {
        const int last = out - first <= LONGEST_SUM;
        product(rows, last ? out - first : LONGEST_SUM, PANELS(in), d_y + first / LANES * PANEL, PANEL,
                w_transposed + first * LANES, PANELS(out) * LANES * LANES, first ? d_x : NULL, d_x, PANEL,
                last && passed ? RELU_BACKWARD : PLAIN, passed);
    }
}

/* ── RMSNorm ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* y = s x with s = (mean(x²) + ε)^(-1/2), for each row. */
SEPARATE void rmsnorm(long rows, const real *x, real *y, real *scale) {
    for (long t = 0; t < rows; t++) {
        vector squares = {0};
        for (long p = 0; p < EMB_PANELS; p++) {
            const vector number = load(x + p * PANEL + t * LANES);
            squares += number * number;
        }
        scale[t] = sum(squares);
    }
    for (long t = 0; t < rows; t += LANES) {
        vector scales; /* of LANES rows at once, for roots and quotients are slow */
        memcpy(&scales, scale + t, sizeof(scales));
        scales = 1 / square_root(scales * (real)(1.0 / EMB) + (real)EPSILON_NORM);
        memcpy(scale + t, &scales, sizeof(scales));
    }
    for (long t = 0; t < rows; t++) {
        for (long p = 0; p < EMB_PANELS; p++)
            store(y + p * PANEL + t * LANES, load(x + p * PANEL + t * LANES) * scale[t]);
    }
}

/* d_x = base + s (d_y - y mean(d_y · y)); base may be NULL, or d_x itself. */
SEPARATE void rmsnorm_backward(long rows, const real *y, const real *scale, const real *d_y, const real *base,
                               real *d_x) {
    for (long t = 0; t < rows; t++) {
        vector along = {0};
        for (long p = 0; p < EMB_PANELS; p++) {
            const long at = p * PANEL + t * LANES;
            along += load(d_y + at) * load(y + at);
        }
        const real mean = sum(along) / EMB;
        for (long p = 0; p < EMB_PANELS; p++) {
            const long at = p * PANEL + t * LANES;
            vector slope = scale[t] * (load(d_y + at) - load(y + at) * mean);
            if (base) slope += load(base + at);
            store(d_x + at, slope);
        }
    }
}

/* ── Embeddings ──────────────────────────────────────────────────────────────────────────────────────────────────── */

/* x = wte[token] + wpe[position], or the first alone. */
SEPARATE void embed(long first, long end, const real *weights, const Activations *a, real *x) {
    for (long t = first; t < end; t++) {
        const real *token = weights + WTE + a->input[t] * (long)PADDED_EMB;
        const real *position = weights + WPE + a->position[t] * (long)PADDED_EMB;
        for (long p = 0; p < EMB_PANELS; p++) {
            vector number = load(token + p * LANES);
            if (!ROTARY) number += load(position + p * LANES);
            store(x + p * PANEL + t * LANES, number);
        }
    }
}

/* d_wte[token] += d_x, d_wpe[position] += d_x. */
SEPARATE void embed_backward(long rows, const real *d_x, const Activations *a, real *gradient) {
    for (long t = 0; t < rows; t++) {
        real *d_token = gradient + WTE + a->input[t] * (long)PADDED_EMB;
        real *d_position = gradient + WPE + a->position[t] * (long)PADDED_EMB;
        for (long p = 0; p < EMB_PANELS; p++) {
            const vector slope = load(d_x + p * PANEL + t * LANES);
            store(d_token + p * LANES, load(d_token + p * LANES) + slope);
            if (!ROTARY) store(d_position + p * LANES, load(d_position + p * LANES) + slope);
        }
    }
}

/* ── Rotation ────────────────────────────────────────────────────────────────────────────────────────────────────── */

#if ROTARY
/* Numbers i and i + HEAD_SIZE / 2 of a head are turned by position * base^(-2 i / HEAD_SIZE), in place, for all heads of
   queries and keys (Su et al. 2021, eq. 34); with the sign -1 turned back, which is the backward pass. */
SEPARATE void turn(const State *state, const Activations *a, long from, long end, real *table, real sign) {
    const long half = HEAD_SIZE / 2;
    for (long p = 0; HEADS_FILL_VECTORS && p < 2 * EMB_PANELS; p++) /* both of a pair stand in the same vector */
        for (long t = from; t < end; t++) {
            real *numbers = table + p * PANEL + t * LANES;
            const vector x = load(numbers);
            const vector other = SHUFFLE(x, x, PARTNER, HEAD_SIZE / 2 % LANES);
            const vector sine = sign * load(state->sine[a->position[t]]);
            store(numbers, x * load(state->cosine[a->position[t]]) + other * sine);
        }
    for (long head = 0; !HEADS_FILL_VECTORS && head < 2 * HEAD; head++)
        for (long i = 0; i < half; i += half % LANES || EMB % LANES ? 1 : LANES) {
            const long first = head / HEAD * PADDED_EMB + head % HEAD * HEAD_SIZE + i, second = first + half;
            real *a_half = table + first / LANES * PANEL + first % LANES;
            real *b_half = table + second / LANES * PANEL + second % LANES;
            for (long t = from; t < end; t++) {
                const real *cosine = state->cosine[a->position[t]] + i, *sine = state->sine[a->position[t]] + half + i;
                if (half % LANES == 0 && EMB % LANES == 0) {
                    const vector x = load(a_half + t * LANES);
                    const vector y = load(b_half + t * LANES);
                    const vector s = sign * load(sine);
                    store(a_half + t * LANES, x * load(cosine) - y * s);
                    store(b_half + t * LANES, y * load(cosine) + x * s);
                } else {
                    const real x = a_half[t * LANES];
                    const real y = b_half[t * LANES];
                    const real s = sign * *sine;
                    a_half[t * LANES] = x * *cosine - y * s;
                    b_half[t * LANES] = y * *cosine + x * s;
                }
            }
        }
}

static void set_angles(State *state) {
    for (long t = 0; t < CTX; t++)
        for (long c = 0; c < TURN_COLUMNS; c++) {
            const long i = c % HEAD_SIZE;
            const double angle = (double)t * pow(ROTARY_BASE, -2.0 * (double)(i % (HEAD_SIZE / 2)) / HEAD_SIZE);
            state->cosine[t][c] = (real)cos(angle);
            state->sine[t][c] = (real)(i < HEAD_SIZE / 2 ? -sin(angle) : sin(angle));
        }
}
#endif

/* Attention, in each head: output = A V with A = softmax(Q Kᵀ / √size), the attention weights (Vaswani et al. 2017, eq.
   1). attention() serves the rows of one document from `from` to `end`; `start` is where the document begins, and the
   causal mask lets query t see the keys up to t. attention_backward() serves a whole document:
   d_V = Aᵀ d_output, d_A = d_output Vᵀ, d_Q = d_scores K / √size, d_K = d_scoresᵀ Q / √size. */
#if PACKED_HEADS
/* ── Attention with packed heads ─────────────────────────────────────────────────────────────────────────────────── */

/* Sums over the lanes of each head, left in all its lanes. */
INLINE vector sum_heads(vector v) {
    if (HEAD_SIZE > 1) v += SHUFFLE(v, v, PARTNER, 1);
    if (HEAD_SIZE > 2) v += SHUFFLE(v, v, PARTNER, 2 % LANES);
    if (HEAD_SIZE > 4) v += SHUFFLE(v, v, PARTNER, 4 % LANES);
    if (HEAD_SIZE > 8) v += SHUFFLE(v, v, PARTNER, 8 % LANES);
    return v;
}

/* The output of a query (already scaled) on so many keys; leaves exp(score - peak) of each, and the normaliser. */
INLINE vector attended(vector query, long count, const real *keys, const real *values, real *exponentials,
                       real *normaliser) {
    vector peak = all(-INFINITY), total = {0}, output = {0};
    for (long u = 0; u < count; u++) {
        const vector score = sum_heads(query * load(keys + u * LANES));
        store(exponentials + u * LANES, score);
        peak = larger(score, peak);
    }
    for (long u = 0; u < count; u++) {
        const vector weight = exponential(load(exponentials + u * LANES) - peak);
        store(exponentials + u * LANES, weight);
        total += weight;
        output += weight * load(values + u * LANES);
    }
    store(normaliser, 1 / total);
    return output * (1 / total);
}

SEPARATE void attention(Activations *a, Layer *layer, long start, long from, long end) {
    for (long p = 0; p < EMB_PANELS; p++) {
        const real *keys = layer->qkv[EMB_PANELS + p][start], *values = layer->qkv[2 * EMB_PANELS + p][start];
        for (long t = from; t < end; t++) {
            const vector query = load(layer->qkv[p][t]) * ATTENTION_SCALE;
            real *exponentials = layer->exponentials[p][a->pair[t]], *normaliser = layer->normaliser[p][t];
            store(layer->attention_output[p][t],
                  attended(query, t - start + 1, keys, values, exponentials, normaliser));
        }
    }
}

/* What a document that is written keeps of a layer: keys and values, of each panel all positions. */
typedef real Kept[2][EMB_PANELS][CTX][LANES] __attribute__((aligned(VECTOR_BYTES)));

/* Keeps the key and the value of a row as those of a position. */
INLINE void keep(const Layer *layer, long row, real (*kept)[EMB_PANELS][CTX][LANES], long position) {
    for (long p = 0; p < 2 * EMB_PANELS; p++)
        store(kept[p / EMB_PANELS][p % EMB_PANELS][position], load(layer->qkv[EMB_PANELS + p][row]));
}

/* The attention of a lone row at a position, on what is kept and itself. */
INLINE void attend(Layer *layer, long row, real (*kept)[EMB_PANELS][CTX][LANES], long position) {
    real exponentials[CTX][LANES] __attribute__((aligned(VECTOR_BYTES)));
    keep(layer, row, kept, position);
    for (long p = 0; p < EMB_PANELS; p++) {
        const vector query = load(layer->qkv[p][row]) * ATTENTION_SCALE;
        store(layer->attention_output[p][row],
              attended(query, position + 1, kept[0][p][0], kept[1][p][0], exponentials[0], layer->normaliser[p][row]));
    }
}

/* Of the softmax: d_x = p (d_p - Σ d_p p), and Σ d_p p is d_output · output. Taken off the values, the output of a token
   that attends to itself alone leaves exactly zero, of which Adam makes no step. */
SEPARATE void attention_backward(Activations *a, const Layer *layer, long start, long end, const real *d_outputs) {
    for (long p = 0; p < EMB_PANELS; p++) {
        const real *queries = layer->qkv[p][0], *keys = layer->qkv[EMB_PANELS + p][0];
        const real *values = layer->qkv[2 * EMB_PANELS + p][0];
        real *d_keys = a->d_qkv[EMB_PANELS + p][0], *d_values = a->d_qkv[2 * EMB_PANELS + p][0];
        for (long t = start; t < end; t++) {
            const real *exponentials = layer->exponentials[p][a->pair[t] - start];
            const vector query = load(queries + t * LANES) * ATTENTION_SCALE;
            const vector d_output = load(d_outputs + p * PANEL + t * LANES) * load(layer->normaliser[p][t]);
            const vector output = load(layer->attention_output[p][t]);
            vector d_query = {0};
            store(d_keys + t * LANES, (vector){0}); /* query t is the first that sees key t */
            store(d_values + t * LANES, (vector){0});
            for (long u = start; u <= t; u++) {
                const long at = u * LANES;
                const vector weight = load(exponentials + at);
                const vector d_score = weight * sum_heads(d_output * (load(values + at) - output));
                d_query += d_score * load(keys + at);
                store(d_keys + at, load(d_keys + at) + d_score * query);
                store(d_values + at, load(d_values + at) + weight * d_output);
            }
            store(a->d_qkv[p][t], d_query * ATTENTION_SCALE);
        }
    }
}

#else
/* ── Attention with separate heads ───────────────────────────────────────────────────────────────────────────────── */

/* A head's columns of a table, from a row on. Where heads fill whole panels they are there already; elsewhere they are
   copied into `buffer`, padded with zeros. */
INLINE const real *gather(const real *table, long head, long rows, real *buffer) {
    if (HEAD_SIZE % LANES == 0) return table + head * HEAD_PANELS * PANEL;
    for (long j = 0; j < HEAD_SIZE; j++) {
        const long column = head * HEAD_SIZE + j;
        const real *from = table + column / LANES * PANEL + column % LANES;
        real *to = buffer + j / LANES * PANEL + j % LANES;
        for (long t = 0; t < rows; t++) to[t * LANES] = from[t * LANES];
    }
    return buffer;
}

/* The other way: where to write a head's columns of a table, and how they get there. */
INLINE real *place(real *table, long head, real *buffer) {
    return HEAD_SIZE % LANES == 0 ? table + head * HEAD_PANELS * PANEL : buffer;
}

INLINE void scatter(const real *buffer, long head, long rows, real *table) {
    if (HEAD_SIZE % LANES == 0) return;
    for (long j = 0; j < HEAD_SIZE; j++) {
        const long column = head * HEAD_SIZE + j;
        const real *from = buffer + j / LANES * PANEL + j % LANES;
        real *to = table + column / LANES * PANEL + column % LANES;
        for (long t = 0; t < rows; t++) to[t * LANES] = from[t * LANES];
    }
}

/* The keys or values of a head (rows x HEAD_SIZE) as a matrix from HEAD_SIZE inputs to a row of scores. */
#define TRANSPOSED_PANEL (HEAD_PANELS * LANES * LANES)
SEPARATE void transpose(long rows, const real *table, real *transposed) {
    for (long u = 0; u < rows; u += LANES)
        for (long p = 0; p < HEAD_PANELS; p++)
            transpose_tile(table + p * PANEL + u * LANES, transposed + (u * HEAD_PANELS + p * LANES) * LANES);
}

/* p = softmax(x / √size) over the columns up to t, and zero beyond, in place; a panel lies `panel` after another. */
INLINE void softmax_row(real *row, long t, long panels, const long panel) {
    vector peaks = all(-INFINITY), totals = {0};
    for (long p = 0; p < panels; p++) {
        const vector scaled = load(row + p * panel) * ATTENTION_SCALE;
        const vector score = select(lanes_up_to(t - p * LANES), scaled, all(-INFINITY));
        store(row + p * panel, score);
        peaks = larger(score, peaks);
    }
    const real peak = largest(peaks);
    for (long p = 0; p < panels; p++) {
        const vector weight = select(lanes_up_to(t - p * LANES), exponential(load(row + p * panel) - peak), all(0));
        store(row + p * panel, weight);
        totals += weight;
    }
    const real normaliser = 1 / sum(totals);
    for (long p = 0; p < panels; p++) store(row + p * panel, load(row + p * panel) * normaliser);
}

/* d_x = p (d_p - Σ d_p p) / √size, in place of d_p. */
INLINE void softmax_row_backward(const real *row, real *d_row, long t, long panels) {
    vector along = {0};
    for (long p = 0; p < panels; p++) {
        const vector weighted = load(row + p * PANEL) * load(d_row + p * PANEL);
        along += select(lanes_up_to(t - p * LANES), weighted, all(0));
    }
    const real mean = sum(along);
    for (long p = 0; p < panels; p++) {
        const vector slope = load(row + p * PANEL) * (load(d_row + p * PANEL) - mean) * ATTENTION_SCALE;
        store(d_row + p * PANEL, select(lanes_up_to(t - p * LANES), slope, all(0)));
    }
}

SEPARATE void attention(Activations *a, Layer *layer, long start, long from, long end) {
    const long row = start * LANES, known = end - start;
    const real *qkv = layer->qkv[0][0] + row;
    for (long h = 0; h < HEAD; h++) {
        const real *query = gather(qkv, h, known, a->head[0][0][0]);
        const real *key = gather(qkv + EMB_PANELS * PANEL, h, known, a->head[1][0][0]);
        const real *value = gather(qkv + 2 * EMB_PANELS * PANEL, h, known, a->head[2][0][0]);
        real *weights = layer->attention[h][0][0] + row;
        real *output = place(layer->attention_output[0][0] + row, h, a->head[3][0][0]);
        transpose(known, key, a->transposed);
        for (long t = from - start; t < known; t += BLOCK_ROWS) {
            const long rows = known - t < BLOCK_ROWS ? known - t : BLOCK_ROWS, seen = t + rows, at = t * LANES;
            product(rows, HEAD_SIZE, PANELS(seen), query + at, PANEL, a->transposed, TRANSPOSED_PANEL, NULL, weights + at,
                    PANEL, PLAIN, NULL);
            for (long r = 0; r < rows; r++) softmax_row(weights + at + r * LANES, t + r, PANELS(seen), PANEL);
            product(rows, seen, HEAD_PANELS, weights + at, PANEL, value, PANEL, NULL, output + at, PANEL, PLAIN, NULL);
        }
        scatter(output + (from - start) * LANES, h, end - from, layer->attention_output[0][0] + from * LANES);
    }
}

SEPARATE void attention_backward(Activations *a, const Layer *layer, long start, long end, const real *d_outputs) {
    const long row = start * LANES, known = end - start;
    const real *qkv = layer->qkv[0][0] + row;
    real *d_qkv = a->d_qkv[0][0] + row, *d_scores = a->d_scores[0][0];
    for (long h = 0; h < HEAD; h++) {
        const real *query = gather(qkv, h, known, a->head[0][0][0]);
        const real *key = gather(qkv + EMB_PANELS * PANEL, h, known, a->head[1][0][0]);
        const real *value = gather(qkv + 2 * EMB_PANELS * PANEL, h, known, a->head[2][0][0]);
        const real *d_output = gather(d_outputs + row, h, known, a->head[3][0][0]);
        const real *weights = layer->attention[h][0][0] + row;
        real *d_query = place(d_qkv, h, a->head[4][0][0]);
        real *d_key = place(d_qkv + EMB_PANELS * PANEL, h, a->head[5][0][0]);
        real *d_value = place(d_qkv + 2 * EMB_PANELS * PANEL, h, a->head[6][0][0]);
        transpose(known, value, a->transposed);
        for (long t = 0; t < known; t += BLOCK_ROWS) {
            const long rows = known - t < BLOCK_ROWS ? known - t : BLOCK_ROWS, seen = t + rows, at = t * LANES;
            product(rows, HEAD_SIZE, PANELS(seen), d_output + at, PANEL, a->transposed, TRANSPOSED_PANEL, NULL, d_scores + at,
                    PANEL, PLAIN, NULL);
            for (long r = 0; r < rows; r++)
                softmax_row_backward(weights + at + r * LANES, d_scores + at + r * LANES, t + r, PANELS(seen));
            product(rows, seen, HEAD_PANELS, d_scores + at, PANEL, key, PANEL, NULL, d_query + at, PANEL, PLAIN, NULL);
        }
        for (long u = 0; u < known; u += LANES) { /* the keys of a panel, seen by queries from u on */
            const long rows = known - u, columns = rows < LANES ? rows : LANES;
            const long at = u * LANES, panel = u / LANES * PANEL + at;
            outer(rows, columns, HEAD_PANELS, d_scores + panel, PANEL, query + at, PANEL, d_key + at, PANEL, 0);
            outer(rows, columns, HEAD_PANELS, weights + panel, PANEL, d_output + at, PANEL, d_value + at, PANEL, 0);
        }
        scatter(d_query, h, known, d_qkv);
        scatter(d_key, h, known, d_qkv + EMB_PANELS * PANEL);
        scatter(d_value, h, known, d_qkv + 2 * EMB_PANELS * PANEL);
    }
}

/* What a document that is written keeps of a head: keys transposed, as softmax_row's columns, and values. */
typedef struct {
    real keys[CTX_PANELS][HEAD_SIZE][LANES] __attribute__((aligned(VECTOR_BYTES)));
    real values[HEAD_PANELS][CTX][LANES] __attribute__((aligned(VECTOR_BYTES)));
} KeptHead;
typedef KeptHead Kept[HEAD]; /* of a layer */

INLINE const real *number_of(const Layer *layer, long part, long row, long column) {
    return &layer->qkv[part * EMB_PANELS + column / LANES][row][column % LANES];
}

/* Keeps the key and the value of a row as those of a position. */
INLINE void keep(const Layer *layer, long row, KeptHead *kept, long position) {
    for (long h = 0; h < HEAD; h++, kept++)
        for (long j = 0; j < HEAD_SIZE; j++) {
            kept->keys[position / LANES][j][position % LANES] = *number_of(layer, 1, row, h * HEAD_SIZE + j);
            kept->values[j / LANES][position][j % LANES] = *number_of(layer, 2, row, h * HEAD_SIZE + j);
        }
}

/* y = x w, for one row. */
INLINE void product_row(long in, long panels, const real *x, const real *w, long w_panel, real *y) {
    while (panels) {
        const int width = next_panels(panels);
        if (width == 2) product_block(1, 2, in, x, LANES, w, w_panel, NULL, y, LANES, PLAIN, NULL);
        else if (width == 1) product_block(1, 1, in, x, LANES, w, w_panel, NULL, y, LANES, PLAIN, NULL);
#if BLOCK_PANELS >= 3
        else product_block(1, 3, in, x, LANES, w, w_panel, NULL, y, LANES, PLAIN, NULL);
#endif
        panels -= width;
        w += width * w_panel, y += width * LANES;
    }
}

/* The attention of a lone row at a position, on what is kept and itself. */
SEPARATE void attend(Layer *layer, long row, KeptHead *kept, long position) {
    real query[HEAD_PANELS][LANES] __attribute__((aligned(VECTOR_BYTES)));
    real output[HEAD_PANELS][LANES] __attribute__((aligned(VECTOR_BYTES)));
    real weights[CTX_PANELS][LANES] __attribute__((aligned(VECTOR_BYTES)));
    keep(layer, row, kept, position);
    for (long h = 0; h < HEAD; h++, kept++) {
        for (long j = 0; j < HEAD_SIZE; j++) query[j / LANES][j % LANES] = *number_of(layer, 0, row, h * HEAD_SIZE + j);
        product_row(HEAD_SIZE, PANELS(position + 1), query[0], kept->keys[0][0], HEAD_SIZE * LANES, weights[0]);
        softmax_row(weights[0], position, PANELS(position + 1), LANES);
        product_row(position + 1, HEAD_PANELS, weights[0], kept->values[0][0], CTX * LANES, output[0]);
        for (long j = 0; j < HEAD_SIZE; j++) {
            const long column = h * HEAD_SIZE + j;
            layer->attention_output[column / LANES][row][column % LANES] = output[j / LANES][j % LANES];
        }
    }
}

#endif

/* Whose keys and values each row of a chunk looks at, where the rows are documents that are written. */
typedef struct {
    Kept (*kept)[LAYER]; /* of each place */
    int32_t place[ROWS]; /* of a row's document */
} Keeping;

/* ── Cross-entropy ───────────────────────────────────────────────────────────────────────────────────────────────── */

/* Of each row what its loss, log Σ exp(logits) - logits[target], is made of. With `backward`, the logits become their
   own gradient: loss weight * (softmax(logits) - onehot(target)). */
SEPARATE void cross_entropy(Activations *a, long rows, int backward) {
    /* One loop after another, so that the sums across lanes of many rows overlap. */
    for (long t = 0; t < rows; t++) {
        real *row = a->logits[0][t];
        vector peaks = all(-INFINITY);
        for (long p = 0; p < KNOWN_PANELS; p++) {
            vector logit = load(row + p * PANEL);
            if ((p + 1) * LANES > KNOWN) {
                logit = select(lanes_below(KNOWN - p * LANES), logit, all(-INFINITY));
                store(row + p * PANEL, logit);
            }
            peaks = larger(logit, peaks);
        }
        a->peak[t] = largest(peaks);
    }
    for (long t = 0; t < rows; t++) {
        real *row = a->logits[0][t];
        vector totals = {0};
        a->target_logit[t] = row[a->target[t] / LANES * PANEL + a->target[t] % LANES] - a->peak[t];
        for (long p = 0; p < KNOWN_PANELS; p++) {
            const vector exp_logit = exponential(load(row + p * PANEL) - a->peak[t]);
            store(row + p * PANEL, exp_logit);
            totals += exp_logit;
        }
        a->total[t] = sum(totals);
    }
    for (long t = 0; backward && t < rows; t++) {
        real *row = a->logits[0][t];
        const real scale = a->loss_weight[t] / a->total[t];
        for (long p = 0; p < KNOWN_PANELS; p++) store(row + p * PANEL, load(row + p * PANEL) * scale);
        row[a->target[t] / LANES * PANEL + a->target[t] % LANES] -= a->loss_weight[t];
    }
}

/* ── The model ───────────────────────────────────────────────────────────────────────────────────────────────────── */

/* hidden = activation(x w), with ReLU; or, where x w is gates g and as many numbers h, with SwiGLU: g σ(g) h (Shazeer
   2020, eq. 6). */
INLINE void expand(long rows, const real *x, const real *w, Layer *layer, long from) {
    real *hidden = layer->hidden[0][0] + from * LANES;
#if SWIGLU
    real *gates = layer->expanded[0][0] + from * LANES;
    linear(rows, EMB, 2 * WIDE_PANELS, x, w, NULL, gates, PLAIN);
    for (long p = 0; p < WIDE_PANELS; p++)
        for (long t = 0; t < rows; t++) {
            const long at = p * PANEL + t * LANES;
            const vector gate = load(gates + at), h = load(gates + WIDE_PANELS * PANEL + at);
            store(hidden + at, gate * sigmoid(gate) * h);
        }
#else
    linear(rows, EMB, WIDE_PANELS, x, w, NULL, hidden, RELU);
#endif
}

#if SWIGLU
/* With s = σ(g), whose slope is s (1 - s): d_g = d_y h s (1 + g (1 - s)), d_h = d_y g s. d_y is in the place of d_g. */
SEPARATE void swiglu_backward(long rows, const real *gates, real *d_gates) {
    for (long p = 0; p < WIDE_PANELS; p++)
        for (long t = 0; t < rows; t++) {
            const long at = p * PANEL + t * LANES, other = WIDE_PANELS * PANEL + at;
            const vector gate = load(gates + at);
            const vector h = load(gates + other);
            const vector d_y = load(d_gates + at);
            const vector s = sigmoid(gate);
            store(d_gates + at, d_y * h * s * (1 + gate * (1 - s)));
            store(d_gates + other, d_y * gate * s);
        }
}
#endif

/* The residual stream behind all layers, of the chunk's rows from `from` on; what stands in rows before is known
   already. With `keeping`, each row is the newest token of a document. */
SEPARATE void layers(const State *state, Activations *a, long from, const Keeping *keeping) {
    const real *weights = state->weights;
    const long end = a->first[a->documents], rows = end - from, at = from * LANES;
    real *stream = a->stream[0][0] + at;
    if (NORM_EMBEDDINGS) {
        embed(from, end, weights, a, a->embedding[0][0]);
        rmsnorm(rows, a->embedding[0][0] + at, stream, a->scale_embedding + from);
        for (long p = 0; p < EMB_PANELS; p++)
            memcpy(a->embedding[p][from], a->stream[p][from], rows * sizeof(a->stream[p][from]));
    } else {
        embed(from, end, weights, a, a->stream[0][0]);
    }
    for (long l = 0; l < LAYER; l++) {
        const real *w = weights + LAYER_AT(l);
        Layer *layer = &a->layer[l];
        real *norm_attention = layer->norm_attention[0][0] + at, *norm_mlp = layer->norm_mlp[0][0] + at;
        rmsnorm(rows, stream, norm_attention, layer->scale_attention + from);
        linear(rows, EMB, 3 * EMB_PANELS, norm_attention, w + QKV, NULL, layer->qkv[0][0] + at, PLAIN);
#if ROTARY
        turn(state, a, from, end, layer->qkv[0][0], 1);
#endif
        for (long t = from; keeping && t < end; t++)
            attend(layer, t, keeping->kept[keeping->place[t]][l], a->position[t]);
        for (long d = 0; !keeping && d < a->documents; d++) {
            const long start = a->first[d], first = start < from ? from : start;
            attention(a, layer, start, first, a->first[d + 1]);
        }
        linear(rows, EMB, EMB_PANELS, layer->attention_output[0][0] + at, w + WO, stream, stream, PLAIN);
        rmsnorm(rows, stream, norm_mlp, layer->scale_mlp + from);
        expand(rows, norm_mlp, w + FC1, layer, from);
        linear(rows, WIDE, EMB_PANELS, layer->hidden[0][0] + at, w + FC2, stream, stream, PLAIN);
    }
}

/* And the logits of these rows. */
SEPARATE void forward(const State *state, Activations *a, long from, const Keeping *keeping) {
    layers(state, a, from, keeping);
    const long rows = a->first[a->documents] - from, at = from * LANES;
    const real *stream = a->stream[0][0] + at;
    if (NORM_HEAD) rmsnorm(rows, stream, a->final[0][0] + at, a->scale_final + from);
    const real *final = NORM_HEAD ? a->final[0][0] + at : stream;
    linear(rows, EMB, KNOWN_PANELS, final, state->weights + LM_HEAD, NULL, a->logits[0][0] + at, PLAIN);
}

/* Adds the partial gradient of the chunk, from the gradient of its logits. */
SEPARATE void backward(const State *state, const real *transposed, Activations *a, real *gradient) {
    (void)state; /* where nothing is turned */
    const long rows = a->first[a->documents];
    real *stream = a->stream[0][0], *branch = a->d_branch[0][0];
    const real *final = NORM_HEAD ? a->final[0][0] : stream;
    /* The stream is the input of lm_head until outer() has read it; then it becomes the stream's gradient. */
    linear_backward(rows, EMB, KNOWN, final, a->logits[0][0], transposed, gradient + LM_HEAD, stream, NULL);
    if (NORM_HEAD) rmsnorm_backward(rows, final, a->scale_final, stream, NULL, stream);
    for (long l = LAYER - 1; l >= 0; l--) {
        const real *w = transposed + LAYER_AT(l) - LM_HEAD;
        real *d_w = gradient + LAYER_AT(l);
        const Layer *layer = &a->layer[l];
        const real *norm_attention = layer->norm_attention[0][0], *norm_mlp = layer->norm_mlp[0][0];
        const real *hidden = layer->hidden[0][0];
        real *d_hidden = a->d_hidden[0][0], *d_qkv = a->d_qkv[0][0];
        linear_backward(rows, WIDE, EMB, hidden, stream, w + FC2, d_w + FC2, d_hidden, SWIGLU ? NULL : hidden);
#if SWIGLU
        swiglu_backward(rows, layer->expanded[0][0], d_hidden);
#endif
        linear_backward(rows, EMB, SWIGLU ? 2 * PADDED_WIDE : WIDE, norm_mlp, d_hidden, w + FC1, d_w + FC1, branch, NULL);
        rmsnorm_backward(rows, norm_mlp, layer->scale_mlp, branch, stream, stream);
        linear_backward(rows, EMB, EMB, layer->attention_output[0][0], stream, w + WO, d_w + WO, branch, NULL);
        for (long d = 0; d < a->documents; d++) attention_backward(a, layer, a->first[d], a->first[d + 1], branch);
#if ROTARY
        turn(state, a, 0, rows, d_qkv, -1);
#endif
        linear_backward(rows, EMB, 3 * PADDED_EMB, norm_attention, d_qkv, w + QKV, d_w + QKV, branch, NULL);
        rmsnorm_backward(rows, norm_attention, layer->scale_attention, branch, stream, stream);
    }
    if (NORM_EMBEDDINGS) rmsnorm_backward(rows, a->embedding[0][0], a->scale_embedding, stream, NULL, stream);
    embed_backward(rows, stream, a, gradient);
}

/* ── Chunks and slots ────────────────────────────────────────────────────────────────────────────────────────────── */

/* Sequences, one after another: tokens[starts[k]] … tokens[starts[k + 1] - 1] are those of document k. */
typedef struct {
    const int32_t *tokens;
    const int64_t *starts;
} Documents;

/* Packs documents from the first on into a chunk, as many as fit; returns the one after the last. */
static long pack(Activations *a, Documents documents, long first, long end, long batch) {
    long row = 0, pair = 0, document = first;
    for (; document < end; document++) {
        const int32_t *tokens = documents.tokens + documents.starts[document];
        const int64_t pairs = documents.starts[document + 1] - documents.starts[document] - 1;
        const long count = pairs < CTX ? (long)pairs : CTX;
        if (row + count > MOST_ROWS) break;
        a->first[document - first] = (int32_t)row;
        for (long t = 0; t < count; t++, row++) {
            a->input[row] = tokens[t], a->target[row] = tokens[t + 1], a->position[row] = (int32_t)t;
            a->loss_weight[row] = (real)(1.0 / ((double)batch * (double)count));
            a->pair[row] = (int32_t)pair, pair += t + 1;
        }
    }
    a->documents = document - first;
    a->first[a->documents] = (int32_t)row;
    return document;
}

/* Σ -log p(target) of a document. The logarithm is taken of products of totals: it costs more than all else here. */
static double document_loss(const Activations *a, long document) {
    double loss = 0, totals = 1;
    for (long t = a->first[document]; t < a->first[document + 1]; t++) {
        loss -= a->target_logit[t];
        totals *= a->total[t];
        if (totals > 1e200) loss += log(totals), totals = 1;
    }
    return loss + log(totals);
}

/* How many slots a step of so many documents has: a slot should have rows enough to be worth a gradient of its own. */
PUBLIC int64_t kernel_slots(int64_t batch) {
    const int64_t rows = batch * CTX;
    return rows < 256 ? 1 : rows < 512 ? 2 : rows < 1024 || batch < 8 ? (batch < 4 ? batch : 4) : 8;
}

/* Loss and gradient of a slot's documents; false where it was told to stop. */
static int slot_gradient(const State *state, const Workspace *workspace, Slot *slot, Documents documents, long first,
                         long end, long batch, const volatile int32_t *stop) {
    slot->loss = 0;
    for (long document = first; document < end;) {
        if (stop && *stop) return 0;
        Activations *a = &slot->activations;
        document = pack(a, documents, document, end, batch);
        forward(state, a, 0, NULL);
        cross_entropy(a, a->first[a->documents], 1);
        for (long d = 0; d < a->documents; d++)
            slot->loss += document_loss(a, d) / (double)(a->first[d + 1] - a->first[d]);
        backward(state, workspace->transposed, a, slot->gradient);
    }
    return 1;
}

/* ── Adam ────────────────────────────────────────────────────────────────────────────────────────────────────────── */

typedef struct {
    real beta1, beta2, other1, other2; /* other: 1 - beta */
    real unbias1, unbias2;             /* 1 / (1 - beta^(step + 1)) */
    real rate;
    real kept; /* of a weight, after its decay */
} Adam;

typedef struct {
    vector weight, m, v;
} Updated;

/* m = β₁ m + (1 - β₁) g, v = β₂ v + (1 - β₂) g², w = (1 - lr λ) w - lr m̂ / (√v̂ + ε), with λ the weight decay (Kingma &
   Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2). */
INLINE Updated adam(const Adam *adam, const State *state, const real *gradient, long at) {
    const vector g = load(gradient + at);
    const vector m = adam->beta1 * load(state->m + at) + adam->other1 * g;
    const vector v = adam->beta2 * load(state->v + at) + adam->other2 * g * g;
    const vector root = square_root(v * adam->unbias2) + (real)EPSILON_ADAM;
    return (Updated){adam->kept * load(state->weights + at) - adam->rate * (adam->unbias1 * m) / root, m, v};
}

/* Updates a vector of weights, and clears their gradient for the next step. */
INLINE void adam_apply(const Adam *step, State *state, real *gradient, long at) {
    const Updated updated = adam(step, state, gradient, at);
    store(state->weights + at, updated.weight);
    store(state->m + at, updated.m);
    store(state->v + at, updated.v);
    store(gradient + at, (vector){0});
}

/* Whether every number that an update would write is finite. Nothing is written. */
SEPARATE int adam_is_finite(const Adam *step, const State *state, const real *gradient) {
    vector spoiled = {0};
    for (long at = 0; at < PARAMS; at += LANES) {
        const Updated updated = adam(step, state, gradient, at);
        spoiled += 0 * updated.weight + 0 * updated.m + 0 * updated.v; /* 0 * infinity is NaN */
    }
    return sum(spoiled) == 0;
}

typedef void (*Visit)(void *context, long offset, long in_panels, long out_panel, long out_panels);

/* Every panel of every matrix: `out_panel` of those at `offset`. */
INLINE void visit_panels(long member, long members, void *context, Visit visit) {
    long count = 0;
#define MATRIX(offset, in_panels, out_panels) \
    for (long p = 0; p < out_panels; p++)     \
        if (count++ % members == member) visit(context, offset, in_panels, p, out_panels);
    MATRIX(LM_HEAD, EMB_PANELS, KNOWN_PANELS)
    for (long l = 0; l < LAYER; l++) {
        MATRIX(LAYER_AT(l) + QKV, EMB_PANELS, 3 * EMB_PANELS)
        MATRIX(LAYER_AT(l) + WO, EMB_PANELS, EMB_PANELS)
        MATRIX(LAYER_AT(l) + FC1, EMB_PANELS, FC1_PARTS * WIDE_PANELS)
        MATRIX(LAYER_AT(l) + FC2, WIDE_PANELS, EMB_PANELS)
    }
#undef MATRIX
}

typedef struct {
    const Adam *adam; /* NULL: only transpose */
    State *state;
    Workspace *workspace;
} Update;

/* Updates a panel of a matrix tile by tile, and writes each tile's transpose while it is at hand. */
static void update_panel(void *context, long offset, long in_panels, long out_panel, long out_panels) {
    const Update *update = context;
    for (long i = 0; i < in_panels; i++) {
        const long tile = offset + (out_panel * in_panels + i) * LANES * LANES;
        const long transposed = offset + (i * out_panels + out_panel) * LANES * LANES - LM_HEAD;
        if (update->adam)
            for (long r = 0; r < LANES; r++)
                adam_apply(update->adam, update->state, update->workspace->slot[0].gradient, tile + r * LANES);
        transpose_tile(update->state->weights + tile, update->workspace->transposed + transposed);
    }
}

/* A member's part of the update of all weights. */
static void update_weights(Update *update, long member, long members) {
    if (update->adam) {
        const long vectors = LM_HEAD / LANES, from = vectors * member / members, to = vectors * (member + 1) / members;
        for (long i = from; i < to; i++)
            adam_apply(update->adam, update->state, update->workspace->slot[0].gradient, i * LANES);
    }
    visit_panels(member, members, update, update_panel);
}

/* The largest magnitude; what is not finite is larger than all that is, because magnitudes order like integers. */
static double magnitude(const real *numbers, long from, long to) {
    mask most[4] = {{0}}; /* chains that don't wait for one another */
    for (long i = from; i < to; i += 4)
        UNROLL for (long chain = 0; chain < 4; chain++) {
            const long at = i + chain < to ? i + chain : to - 1;
            const mask number = (mask)absolute(load(numbers + at * LANES)), more = number > most[chain];
            most[chain] = (more & number) | (~more & most[chain]);
        }
    bits found = 0;
    for (int chain = 0; chain < 4; chain++)
        for (int lane = 0; lane < LANES; lane++) found = most[chain][lane] > found ? most[chain][lane] : found;
    real result;
    memcpy(&result, &found, sizeof(result));
    return result;
}

/* Sums a part of the slots' gradients into the first, in their order; clears the others; returns its magnitude. */
static double reduce(Workspace *workspace, long slots, long member, long members) {
    const long vectors = PARAMS / LANES, from = vectors * member / members, to = vectors * (member + 1) / members;
    real *total = workspace->slot[0].gradient;
    for (long i = from; slots > 1 && i < to; i++) {
        vector g = load(total + i * LANES);
        for (long s = 1; s < slots; s++) {
            real *part = workspace->slot[s].gradient + i * LANES;
            g += load(part);
            store(part, (vector){0});
        }
        store(total + i * LANES, g);
    }
    return magnitude(total, from, to);
}

/* What is known to bound the state from above, so that most updates need no look at their results. */
typedef struct {
    double weight, m, v;
} Bounds;

static Bounds measure(const State *state) {
    return (Bounds){magnitude(state->weights, 0, PARAMS / LANES), magnitude(state->m, 0, PARAMS / LANES),
                    magnitude(state->v, 0, PARAMS / LANES)};
}

/* Whether the bounds and the gradient's prove that an update is finite; then they become those of its result. Each
   product is one that adam() forms, at its largest; a quarter of the largest real is room for rounding. */
static int surely_finite(Bounds *bounds, const Adam *adam, double gradient) {
    const double room = REAL_MAX / 4, squared = gradient * gradient;
    Bounds after = *bounds;
    after.m = (bounds->m <= gradient ? gradient : bounds->m) * 1.001; /* NaN is not below, and stays */
    after.v = (bounds->v <= squared ? squared : bounds->v) * 1.001;
    after.weight = bounds->weight * fmax(1, fabs((double)adam->kept)) +
                   fabs((double)adam->rate) * after.m * adam->unbias1 * (1 / EPSILON_ADAM) * 1.001;
    if (!(after.m < room && after.v * adam->unbias2 < room && after.weight < room)) return 0;
    *bounds = after;
    return 1;
}

/* ── Writing ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* How a token is drawn from logits, and when a document ends. */
typedef struct {
    double temperature; /* p becomes p^(1/temperature); at 0 the likeliest token is taken */
    int64_t top_k;      /* of so many most probable tokens; 0 is all */
    double top_p;       /* of the fewest most probable ones that make up such a share of what is left; 1 is all */
    double min_p;       /* of those with such a share or more of the likeliest one's probability */
    int64_t end;        /* the token that ends a document; -1 is none */
} Drawing;

#define WRITING_BYTES (64L << 20) /* of keys and values that a thread keeps at most, where that is eight documents */
#define WRITING_FIT (WRITING_BYTES / (LAYER * (long)sizeof(Kept)))
#define WRITING_ROWS (WRITING_FIT > CHUNK_ROWS ? CHUNK_ROWS : WRITING_FIT < 8 ? 8 : WRITING_FIT)

/* A document that is being written. */
typedef struct {
    int64_t document;
    int64_t count, size; /* of what was drawn: tokens, and the sum of their sizes */
    int32_t place;       /* of its keys and values, and of its window */
    int32_t position;    /* of its newest token */
    int32_t missing;     /* how many tokens before it have no keys and values yet: all or none */
} Row;

/* What a thread writes on. */
typedef struct {
    Kept kept[WRITING_ROWS][LAYER];
    int32_t window[WRITING_ROWS][CTX]; /* the tokens that the model sees */
    Row row[WRITING_ROWS];
    int64_t next, end; /* of the documents that it has come by, those that wait */
    Keeping keeping;
    real barred[PADDED_VOCABULARY] __attribute__((aligned(ALIGNMENT))); /* -inf where a token is never drawn, else 0 */
    int32_t order[VOCABULARY]; /* a heap of tokens, and behind it those that were taken from it */
    real weight[VOCABULARY];
} Writing;

/* From logits to weights, exp((logit - peak) / temperature), and their total. */
SEPARATE void weigh(const Drawing *drawing, Activations *a, long rows, const real *barred) {
    const real cold = (real)(1 / drawing->temperature);
    for (long t = 0; t < rows; t++) {
        vector peaks = all(-INFINITY);
        for (long p = 0; p < KNOWN_PANELS; p++) {
            const vector logit = load(a->logits[p][t]) + load(barred + p * LANES);
            store(a->logits[p][t], logit);
            peaks = larger(logit, peaks);
        }
        a->peak[t] = largest(peaks);
    }
    for (long t = 0; t < rows; t++) {
        double total = 0;
        for (long p = 0; p < KNOWN_PANELS; p++) {
            const vector below = load(a->logits[p][t]) - a->peak[t];
            const vector weight = exponential(select(below < 0, below * cold, below)); /* NaN stays */
            store(a->logits[p][t], weight);
            total += (double)sum(weight);
        }
        a->mass[t] = total;
    }
}

/* Whether token b is to come before a: of equals the lower id. */
INLINE int behind(const real *weight, int32_t a, int32_t b) {
    return weight[b] > weight[a] || (weight[b] == weight[a] && b < a);
}

static void sift(const real *weight, int32_t *heap, long from, long size) {
    for (long child; (child = 2 * from + 1) < size; from = child) {
        if (child + 1 < size && behind(weight, heap[child], heap[child + 1])) child++;
        if (!behind(weight, heap[from], heap[child])) return;
        const int32_t token = heap[from];
        heap[from] = heap[child], heap[child] = token;
    }
}

/* Leaves a row only the most probable tokens that are asked for, and their total. */
SEPARATE void narrow(const Drawing *drawing, Activations *a, long t, Writing *writing) {
    real *weight = writing->weight;
    const long most = drawing->top_k && drawing->top_k < KNOWN ? (long)drawing->top_k : KNOWN;
    long left = KNOWN;
    for (long o = 0; o < KNOWN; o++) {
        weight[o] = a->logits[o / LANES][t][o % LANES];
        writing->order[o] = (int32_t)o;
    }
    for (long from = KNOWN / 2 - 1; from >= 0; from--) sift(weight, writing->order, from, left);
    double known = 0, share = drawing->top_p * a->mass[t];
    const real least = most < KNOWN ? 0 : (real)drawing->min_p; /* the likeliest one's weight is 1 */
    while (KNOWN - left < most && (most < KNOWN || known < share)) {
        const int32_t token = writing->order[0];
        if (weight[token] <= 0 || weight[token] < least) break;
        writing->order[0] = writing->order[--left], writing->order[left] = token;
        sift(weight, writing->order, 0, left);
        known += (double)weight[token];
    }
    if (most < KNOWN) share = drawing->top_p * known;
    known = 0;
    for (long p = 0; p < KNOWN_PANELS; p++) store(a->logits[p][t], (vector){0});
    for (long o = KNOWN - 1; o >= left && known < share; o--) {
        const int32_t token = writing->order[o];
        known += (double)weight[token];
        if (weight[token] >= (real)drawing->min_p) a->logits[token / LANES][t][token % LANES] = weight[token];
    }
    a->mass[t] = 0;
    for (long p = 0; p < KNOWN_PANELS; p++) a->mass[t] += (double)sum(load(a->logits[p][t]));
}

/* The first token whose weight and those before it sum to more than `number` of the total; one of no weight never. */
INLINE long chosen(const Activations *a, long t, double number) {
    const double goal = number * a->mass[t];
    double before = 0, base = 0;
    long panel = 0, token = 0;
    for (long p = 0; p < KNOWN_PANELS && before <= goal; p++) {
        const double here = (double)sum(load(a->logits[p][t]));
        if (here > 0) panel = p, base = before;
        before += here;
    }
    for (long lane = 0; lane < LANES && base <= goal; lane++) {
        const double weight = (double)a->logits[panel][t][lane];
        if (weight > 0) token = panel * LANES + lane;
        base += weight;
    }
    return token;
}

/* ── A team of threads ───────────────────────────────────────────────────────────────────────────────────────────── */

typedef struct {
    State *state;
    Workspace *workspace;
    Documents documents;
    const int64_t *batches; /* step s has documents batches[s] … batches[s + 1] - 1 */
    int64_t steps;
    const double *rates;
    double beta1, beta2, weight_decay;
    double *losses;
    const volatile int32_t *stop;
    double *totals, *target_logits; /* of an evaluation */
    Writing *writings;      /* of each member, what is written on; with documents as prompts */
    const Drawing *drawing;
    const double *uniforms; /* `most` for each document */
    int64_t most;
    const int64_t *sizes;   /* what each token takes of `most`; one of 0 is never drawn */
    int32_t *written;       /* `most` for each document */
    int64_t *counts;        /* how many of them a document has, where it is finished */
    atomic_long members; /* zero until all have come */
    Bounds bounds;
    Adam adam;
    double loss;
    double magnitudes[MOST_THREADS];
    int64_t done;
    atomic_long next_slot, arrived, round;
    atomic_int stopped;
    int finished;
} Team;

typedef struct {
    Team *team;
    long number;
    void (*work)(Team *, long);
} Member;

/* A barrier for all members. It spins at first, because the others come within microseconds. */
static void barrier(Team *team) {
    if (team->members == 1) return;
    const long round = atomic_load(&team->round);
    if (atomic_fetch_add(&team->arrived, 1) + 1 == team->members) {
        atomic_store(&team->arrived, 0);
        atomic_fetch_add(&team->round, 1);
        return;
    }
    for (long spins = 0; atomic_load(&team->round) == round; spins++)
        if (spins > 2000) sched_yield();
}

static void *enter(void *argument) {
    Member *member = argument;
    while (!atomic_load(&member->team->members)) sched_yield();
    member->work(member->team, member->number);
    return NULL;
}

/* Does the work with as many members as can be had; a thread that can't be started is done without. */
static void assemble(Team *team, long members, void (*work)(Team *, long)) {
    pthread_t threads[MOST_THREADS];
    Member member[MOST_THREADS];
    members = members > MOST_THREADS ? MOST_THREADS : members;
    for (long i = 0; i < MOST_THREADS; i++) member[i] = (Member){team, i, work};
    long started = 1;
    while (started < members && !pthread_create(&threads[started], NULL, enter, &member[started])) started++;
    atomic_store(&team->members, started);
    work(team, 0);
    for (long i = 1; i < started; i++) pthread_join(threads[i], NULL);
}

/* Takes slots of a step until none is left. */
static void take_slots(Team *team, int64_t step) {
    const int64_t first = team->batches[step], batch = team->batches[step + 1] - first, slots = kernel_slots(batch);
    for (long s; (s = atomic_fetch_add(&team->next_slot, 1)) < slots;) {
        const long from = (long)(first + batch * s / slots), to = (long)(first + batch * (s + 1) / slots);
        if (!slot_gradient(team->state, team->workspace, &team->workspace->slot[s], team->documents, from, to,
                           (long)batch, team->stop))
            atomic_store(&team->stopped, 1);
    }
}

/* Whether the step may be taken; sets what Adam needs. */
static int decide(Team *team, int64_t step, double gradient) {
    const double number = (double)team->state->step + 1;
    team->adam = (Adam){
        .beta1 = (real)team->beta1,
        .beta2 = (real)team->beta2,
        .other1 = (real)(1 - team->beta1),
        .other2 = (real)(1 - team->beta2),
        .unbias1 = (real)(1 / (1 - pow(team->beta1, number))),
        .unbias2 = (real)(1 / (1 - pow(team->beta2, number))),
        .rate = (real)team->rates[step],
        .kept = (real)(1 - team->rates[step] * team->weight_decay),
    };
    if (atomic_load(&team->stopped) || !isfinite(team->loss) || !isfinite(gradient)) return 0;
    if (surely_finite(&team->bounds, &team->adam, gradient)) return 1;
    team->bounds = measure(team->state);
    if (surely_finite(&team->bounds, &team->adam, gradient)) return 1;
    team->bounds.weight = INFINITY; /* of what adam() makes now, nothing is proved */
    return adam_is_finite(&team->adam, team->state, team->workspace->slot[0].gradient);
}

static void train(Team *team, long member) {
    Update update = {NULL, team->state, team->workspace};
    update_weights(&update, member, team->members);
    update.adam = &team->adam;
    for (int64_t step = 0; step < team->steps; step++) {
        const int64_t batch = team->batches[step + 1] - team->batches[step], slots = kernel_slots(batch);
        barrier(team);
        take_slots(team, step);
        barrier(team);
        team->magnitudes[member] = reduce(team->workspace, slots, member, team->members);
        barrier(team);
        if (member == 0) {
            double gradient = 0;
            for (long i = 0; i < team->members; i++)
                if (!(team->magnitudes[i] <= gradient)) gradient = team->magnitudes[i];
            team->loss = 0;
            for (int64_t s = 0; s < slots; s++) team->loss += team->workspace->slot[s].loss;
            team->loss /= (double)batch;
            team->finished = !decide(team, step, gradient);
            atomic_store(&team->next_slot, 0);
        }
        barrier(team);
        if (team->finished) break;
        update_weights(&update, member, team->members);
        if (member == 0) {
            team->losses[step] = team->loss;
            team->state->step++;
            team->done++;
        }
    }
}

/* The gradient of one step, summed into the first slot. */
static void measure_gradient(Team *team, long member) {
    Update update = {NULL, team->state, team->workspace};
    update_weights(&update, member, team->members);
    barrier(team);
    take_slots(team, 0);
    barrier(team);
    reduce(team->workspace, kernel_slots(team->batches[1]), member, team->members);
}

/* Of each prediction in a member's documents, the two numbers that make its loss: a caller takes the logarithms of many
   at once. */
static void evaluate(Team *team, long member) {
    const int64_t first = team->steps * member / team->members, end = team->steps * (member + 1) / team->members;
    Activations *a = &team->workspace->slot[member].activations;
    for (int64_t document = first; document < end;) {
        if (*team->stop) return;
        const int64_t after = pack(a, team->documents, document, end, 1);
        forward(team->state, a, 0, NULL);
        cross_entropy(a, a->first[a->documents], 0);
        for (long d = 0; d < a->documents; d++) {
            const long row = a->first[d];
            const long rows = a->first[d + 1] - row;
            const int64_t place = team->documents.starts[document + d];
            for (long t = 0; t < rows; t++) team->totals[place + t] = a->total[row + t];
            for (long t = 0; t < rows; t++) team->target_logits[place + t] = a->target_logit[row + t];
        }
        document = after;
    }
}

/* The prompt of the next document that waits, in a row that is free; false where none waits. */
static int begin(Team *team, Writing *writing, Row *row) {
    if (writing->next >= writing->end) { /* some at once, for threads that ask often wait for one another */
        const int64_t some = team->steps / (16 * team->members) + 1, most = some < 32 ? some : 32;
        writing->next = atomic_fetch_add(&team->next_slot, most);
        writing->end = writing->next + most < team->steps ? writing->next + most : team->steps;
        if (writing->next >= writing->end) return 0;
    }
    const int64_t document = writing->next++;
    const int64_t start = team->documents.starts[document], count = team->documents.starts[document + 1] - start;
    memcpy(writing->window[row->place], team->documents.tokens + start, (size_t)count * sizeof(int32_t));
    *row = (Row){document, 0, 0, row->place, (int32_t)count - 1, (int32_t)count - 1};
    return 1;
}

/* The keys and values that rows miss: their tokens go through the layers as in training, as many at once as fit. */
static void fill(const State *state, Writing *writing, Activations *a, long rows) {
    for (long r = 0, first = 0; r < rows; first = r) {
        long row = 0, pair = 0;
        a->documents = 0;
        for (; r < rows && row + writing->row[r].missing <= MOST_ROWS; r++) {
            if (!writing->row[r].missing) continue;
            a->first[a->documents++] = (int32_t)row;
            for (long t = 0; t < writing->row[r].missing; t++, row++) {
                a->input[row] = writing->window[writing->row[r].place][t], a->position[row] = (int32_t)t;
                a->pair[row] = (int32_t)pair, pair += t + 1;
            }
        }
        if (!a->documents) return;
        a->first[a->documents] = (int32_t)row;
        layers(state, a, 0, NULL);
        for (row = 0; first < r; first++) {
            for (long t = 0; t < writing->row[first].missing; t++, row++)
                for (long l = 0; l < LAYER; l++)
                    keep(&a->layer[l], row, writing->kept[writing->row[first].place][l], t);
            writing->row[first].missing = 0;
        }
    }
}

/* Takes the token that was drawn; false where it is the last of its document. Where the model's window is full, running
   text goes on from the latter half of it: moving by one would move every position, and nothing kept would serve. */
static int take(const Team *team, Writing *writing, Row *row, int32_t token) {
    int32_t *window = writing->window[row->place];
    team->written[row->document * team->most + row->count++] = token;
    row->size += team->sizes[token];
    if (token == team->drawing->end || row->size >= team->most) return 0;
    if (++row->position == CTX) {
        if (team->drawing->end >= 0) return 0;
        row->position = row->missing = CTX / 2;
        memmove(window, window + CTX - CTX / 2, CTX / 2 * sizeof(*window));
    }
    window[row->position] = token;
    return 1;
}

/* Writes documents as they come, as many at once as there are rows. */
static void write_documents(Team *team, long member) {
    Writing *writing = &team->writings[member];
    Activations *a = &team->workspace->slot[member].activations;
    const Drawing *drawing = team->drawing;
    const int narrows = (drawing->top_k && drawing->top_k < KNOWN) || drawing->top_p < 1 || drawing->min_p > 0;
    const int64_t share = (team->steps + team->members - 1) / team->members;
    const long most = share < WRITING_ROWS ? (long)share : WRITING_ROWS;
    for (long o = 0; o < PADDED_VOCABULARY; o++) writing->barred[o] = o < KNOWN && team->sizes[o] ? 0 : -INFINITY;
    for (long r = 0; r < most; r++) writing->row[r].place = (int32_t)r;
    writing->keeping.kept = writing->kept;
    writing->next = writing->end = 0;
    for (long rows = 0;;) {
        while (rows < most && begin(team, writing, &writing->row[rows])) rows++;
        if (!rows || *team->stop || atomic_load(&team->stopped)) return;
        fill(team->state, writing, a, rows);
        for (long r = 0; r < rows; r++) {
            const Row *row = &writing->row[r];
            writing->keeping.place[r] = row->place;
            a->input[r] = writing->window[row->place][row->position], a->position[r] = row->position;
        }
        a->documents = 1, a->first[0] = 0, a->first[1] = (int32_t)rows;
        forward(team->state, a, 0, &writing->keeping);
        weigh(drawing, a, rows, writing->barred);
        for (long r = rows - 1; r >= 0; r--) {
            Row *row = &writing->row[r];
            if (!isfinite(a->mass[r])) { /* of a logit that is not */
                atomic_store(&team->stopped, 1);
                return;
            }
            if (narrows) narrow(drawing, a, r, writing);
            const double *numbers = team->uniforms + row->document * team->most;
            const double number = drawing->temperature > 0 ? numbers[row->count] : 0; /* else the first of weight */
            if (take(team, writing, row, (int32_t)chosen(a, r, number))) continue;
            team->counts[row->document] = row->count;
            const Row ended = *row;
            *row = writing->row[--rows], writing->row[rows] = ended;
        }
    }
}

/* ── What Python calls ───────────────────────────────────────────────────────────────────────────────────────────── */

/* Copies between a matrix as the ledger has it, out x in row by row, and its tiles; returns where the next begins. */
static real *copy_matrix(real *flat, real *native, long in, long out, int import) {
    for (long o = 0; o < out; o++)
        for (long i = 0; i < in; i++, flat++) {
            real *number = native + (o / LANES * PANELS(in) * LANES + i) * LANES + o % LANES;
            if (import) *number = *flat; else *flat = *number;
        }
    return flat;
}

static real *copy_rows(real *flat, real *native, long rows, int import) {
    for (long r = 0; r < rows; r++, flat += EMB, native += PADDED_EMB)
        memcpy(import ? native : flat, import ? flat : native, EMB * sizeof(real));
    return flat;
}

static void copy_weights(real *flat, real *native, int import) {
    flat = copy_rows(flat, native + WTE, KNOWN, import);
    if (!ROTARY) flat = copy_rows(flat, native + WPE, CTX, import);
    flat = copy_matrix(flat, native + LM_HEAD, EMB, KNOWN, import);
    for (long l = 0; l < LAYER; l++) {
        real *layer = native + LAYER_AT(l);
        for (long part = 0; part < 3; part++)
            flat = copy_matrix(flat, layer + QKV + part * PADDED_EMB * PADDED_EMB, EMB, EMB, import);
        flat = copy_matrix(flat, layer + WO, EMB, EMB, import);
        for (long part = 0; part < FC1_PARTS; part++)
            flat = copy_matrix(flat, layer + FC1 + part * PADDED_EMB * PADDED_WIDE, EMB, WIDE, import);
        flat = copy_matrix(flat, layer + FC2, WIDE, EMB, import);
    }
}

/* Bytes of memory that the caller brings: aligned, and zero at first. */
PUBLIC int64_t kernel_state_bytes(void) { return sizeof(State); }
PUBLIC int64_t kernel_workspace_bytes(int64_t slots) {
    return (int64_t)sizeof(Workspace) + slots * (int64_t)sizeof(Slot);
}
PUBLIC int64_t kernel_activations_bytes(void) { return sizeof(Activations); }

/* Weights and moments from and to the layout of the ledger, three flat vectors. */
PUBLIC void kernel_import(State *state, real *weights, real *m, real *v, int64_t step) {
    copy_weights(weights, state->weights, 1);
    copy_weights(m, state->m, 1);
    copy_weights(v, state->v, 1);
    state->step = step;
#if ROTARY
    set_angles(state);
#endif
}

PUBLIC int64_t kernel_export(State *state, real *weights, real *m, real *v) {
    copy_weights(weights, state->weights, 0);
    copy_weights(m, state->m, 0);
    copy_weights(v, state->v, 0);
    return state->step;
}

/* Clears what an abandoned step left behind. */
static void clear_gradients(Workspace *workspace, int64_t slots) {
    for (int64_t s = 0; s < slots; s++) memset(workspace->slot[s].gradient, 0, sizeof(workspace->slot[s].gradient));
}

/* Takes a step for each batch, until one is not finite or *stop is set; returns the steps done, and their losses. */
PUBLIC int64_t kernel_train(State *state, Workspace *workspace, const int32_t *tokens, const int64_t *starts,
                            const int64_t *batches, int64_t steps, const double *rates, double beta1, double beta2,
                            double weight_decay, double *losses, const volatile int32_t *stop, int64_t threads) {
    Team team = {.state = state, .workspace = workspace, .documents = {tokens, starts}, .batches = batches,
                 .steps = steps, .rates = rates, .beta1 = beta1, .beta2 = beta2, .weight_decay = weight_decay, .losses = losses,
                 .stop = stop, .bounds = measure(state)};
    int64_t slots = 1;
    for (int64_t s = 0; s < steps; s++) {
        const int64_t wanted = kernel_slots(batches[s + 1] - batches[s]);
        slots = wanted > slots ? wanted : slots;
    }
    assemble(&team, (long)(threads < slots ? threads : slots), train);
    if (team.done < steps) clear_gradients(workspace, slots);
    return team.done;
}

/* The loss of a batch, and its gradient in the layout of the ledger; false where it was stopped. */
PUBLIC int32_t kernel_gradient(State *state, Workspace *workspace, const int32_t *tokens, const int64_t *starts,
                               int64_t documents, double *loss, real *gradient, const volatile int32_t *stop,
                               int64_t threads) {
    const int64_t batches[] = {0, documents}, slots = kernel_slots(documents);
    Team team = {.state = state, .workspace = workspace, .documents = {tokens, starts}, .batches = batches,
                 .steps = 1, .stop = stop};
    assemble(&team, (long)(threads < slots ? threads : slots), measure_gradient);
    *loss = 0;
    for (int64_t s = 0; s < slots; s++) *loss += workspace->slot[s].loss;
    *loss /= (double)documents;
    copy_weights(gradient, workspace->slot[0].gradient, 0);
    clear_gradients(workspace, slots);
    return !atomic_load(&team.stopped);
}

/* -log p(next token) is log(total) - target_logit, which stand at the place of the token before it; the workspace has
   a slot for each thread. */
PUBLIC void kernel_evaluate(State *state, Workspace *workspace, const int32_t *tokens, const int64_t *starts,
                            int64_t documents, double *totals, double *target_logits, const volatile int32_t *stop,
                            int64_t threads) {
    Team team = {.state = state, .workspace = workspace, .documents = {tokens, starts}, .steps = documents,
                 .totals = totals, .target_logits = target_logits, .stop = stop};
    assemble(&team, (long)threads, evaluate);
}

/* The logits after the last of `count` tokens. The activations still hold keys and values of the first `known`. */
PUBLIC void kernel_next(const State *state, Activations *a, const int32_t *tokens, int64_t known, int64_t count,
                        double *logits) {
    for (long t = (long)known; t < count; t++) {
        a->input[t] = tokens[t], a->position[t] = (int32_t)t;
        a->pair[t] = (int32_t)(t * (t + 1) / 2);
    }
    a->documents = 1, a->first[0] = 0, a->first[1] = (int32_t)count;
    forward(state, a, (long)known, NULL);
    for (long o = 0; o < KNOWN; o++) logits[o] = a->logits[o / LANES][count - 1][o % LANES];
}

/* Bytes that so many threads write on. */
PUBLIC int64_t kernel_writing_bytes(int64_t threads) { return threads * (int64_t)sizeof(Writing); }

/* Writes on from each prompt, of 1 to CTX tokens, drawing a token for each of its `most` uniform numbers until one ends
   the document or their sizes make up `most`. Sets the counts of the documents that it finishes: all, unless *stop is
   set. False where a logit is not finite. The workspace has a slot for each thread. */
PUBLIC int32_t kernel_write(State *state, Workspace *workspace, Writing *writings, const int32_t *tokens,
                            const int64_t *starts, int64_t documents, const double *uniforms, int64_t most,
                            const int64_t *sizes, double temperature, int64_t top_k, double top_p, double min_p,
                            int64_t end, int32_t *written, int64_t *counts, const volatile int32_t *stop,
                            int64_t threads) {
    const Drawing drawing = {temperature, top_k, top_p, min_p, end};
    Team team = {.state = state, .workspace = workspace, .documents = {tokens, starts}, .steps = documents,
                 .stop = stop, .writings = writings, .drawing = &drawing, .uniforms = uniforms, .most = most,
                 .sizes = sizes, .written = written, .counts = counts};
    assemble(&team, (long)threads, write_documents);
    return !atomic_load(&team.stopped);
}
