/* What kernel.c needs of a C library, for a page, which has none; this file stands before it and is compiled with it.

   A page has one thread; logarithms, powers and angles are those of its JavaScript; and memory is copied and filled by
   WebAssembly's own instructions. */

#define NULL ((void *)0)
#define INFINITY __builtin_inff()
#define isfinite __builtin_isfinite
#define fabs __builtin_fabs
#define sqrt __builtin_sqrt
#define MATH(name) __attribute__((import_module("Math"), import_name(#name)))

typedef __SIZE_TYPE__ size_t;
typedef int pthread_t;

MATH(log) double log(double);
MATH(pow) double pow(double, double);
MATH(cos) double cos(double);
MATH(sin) double sin(double);

static inline double fmax(double a, double b) { return a > b || b != b ? a : b; }

void *memcpy(void *to, const void *from, size_t size) {
    __asm__ volatile("local.get %0\nlocal.get %1\nlocal.get %2\nmemory.copy 0, 0"
                     : : "r"(to), "r"(from), "r"(size) : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t size) { return memcpy(to, from, size); } /* which may overlap */

void *memset(void *to, int byte, size_t size) {
    __asm__ volatile("local.get %0\nlocal.get %1\nlocal.get %2\nmemory.fill 0"
                     : : "r"(to), "r"(byte), "r"(size) : "memory");
    return to;
}

static inline int pthread_create(pthread_t *thread, const void *kind, void *(*work)(void *), void *argument) {
    (void)thread, (void)kind, (void)work, (void)argument;
    return 1; /* none can be started, and kernel.c does without */
}

static inline int pthread_join(pthread_t thread, void **result) {
    (void)thread, (void)result;
    return 0;
}

static inline int sched_yield(void) { return 0; }

/* A new model in a page has the characters of its text: fewer than the kernel has room for. */
static long tokens_in_use = VOCABULARY;
#if FEWER
#define KNOWN tokens_in_use
#endif
void kernel_know(long tokens) { tokens_in_use = tokens; }
