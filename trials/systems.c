/* The kernel without Python, for systems that have none: reads a training from one file, carries it out, writes losses,
   weights and a text to another. trials/systems.py writes the one and reads the other. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALIGNED = 64, PRECISION_BYTES = PRECISION / 8 };
typedef struct {
    int64_t params, steps, documents, tokens, vocabulary, prompts, most, threads;
} Header;

int64_t kernel_slots(int64_t), kernel_state_bytes(void), kernel_workspace_bytes(int64_t), kernel_writing_bytes(int64_t);
void kernel_import(void *, void *, void *, void *, int64_t);
int64_t kernel_export(void *, void *, void *, void *);
int64_t kernel_train(void *, void *, const int32_t *, const int64_t *, const int64_t *, int64_t, const double *, double,
                     double, double, double *, const volatile int32_t *, int64_t);
int32_t kernel_write(void *, void *, void *, const int32_t *, const int64_t *, int64_t, const double *, int64_t,
                     const int64_t *, double, int64_t, double, double, int64_t, int32_t *, int64_t *,
                     const volatile int32_t *, int64_t);

static void *zeros(int64_t bytes) {
    char *room = calloc((size_t)bytes + ALIGNED, 1);
    return room ? room + (ALIGNED - (uintptr_t)room % ALIGNED) % ALIGNED : (exit(3), NULL);
}

static void *part(FILE *file, int64_t bytes) {
    void *room = zeros(bytes);
    if (fread(room, 1, (size_t)bytes, file) != (size_t)bytes) exit(4);
    return room;
}

int main(int count, char **names) {
    FILE *file = count == 3 ? fopen(names[1], "rb") : NULL;
    if (!file) return 2;
    const Header *h = part(file, sizeof(*h));
    void *weights = part(file, h->params * PRECISION_BYTES), *m = zeros(h->params * 8), *v = zeros(h->params * 8);
    const double *rates = part(file, h->steps * 8), *uniforms = part(file, h->prompts * h->most * 8);
    const int64_t *batches = part(file, (h->steps + 1) * 8), *starts = part(file, (h->documents + 1) * 8);
    const int64_t *firsts = part(file, (h->prompts + 1) * 8), *sizes = part(file, h->vocabulary * 8);
    const int32_t *tokens = part(file, h->tokens * 4), *prompts = part(file, h->prompts * 4);
    fclose(file);

    const int32_t stop = 0;
    int64_t slots = h->threads;
    for (int64_t s = 0; s < h->steps; s++) {
        const int64_t wanted = kernel_slots(batches[s + 1] - batches[s]);
        slots = wanted > slots ? wanted : slots;
    }
    void *state = zeros(kernel_state_bytes()), *workspace = zeros(kernel_workspace_bytes(slots));
    double *losses = zeros(h->steps * 8);
    kernel_import(state, weights, m, v, 0);
    kernel_train(state, workspace, tokens, starts, batches, h->steps, rates, 0.85, 0.99, 0, losses, &stop, h->threads);
    kernel_export(state, weights, m, v);
    int32_t *written = zeros(h->prompts * h->most * 4);
    kernel_write(state, workspace, zeros(kernel_writing_bytes(h->threads)), prompts, firsts, h->prompts, uniforms,
                 h->most, sizes, 1, 0, 1, 0, -1, written, zeros(h->prompts * 8), &stop, h->threads);

    file = fopen(names[2], "wb");
    if (!file) return 2;
    fwrite(losses, 8, (size_t)h->steps, file);
    fwrite(weights, PRECISION_BYTES, (size_t)h->params, file);
    fwrite(written, 4, (size_t)(h->prompts * h->most), file);
    return fclose(file);
}
