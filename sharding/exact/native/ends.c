/* The ends of a model, tokens in and logits out, and what else Python calls. */
#include "exact.h"
#include "scratch.h"

EXPORT struct scratch *tally_scratch_new(void) { return calloc(1, sizeof(struct scratch)); }

EXPORT void tally_scratch_free(struct scratch *scratch) {
    if (scratch == NULL) return;
    free(scratch->memory);
    free(scratch);
}

/* rows (count, hidden) -> out (count, vocabulary). */
EXPORT int tally_logits(struct scratch *scratch, const struct dimensions *d, const struct norm *norm, const struct matrix *head, const int32_t *rows, int64_t count, int32_t *out, int threads, struct failure *failure) {
    struct carver carver = {NULL, 0};
    carve_activations(&carver, count, d->hidden);
    carve(&carver, (size_t)d->hidden * sizeof(int32_t));
    failure->fault = FINE;
    if (!hold(scratch, carver.used)) return failure->fault = MEMORY;
    carver = (struct carver){scratch->memory, 0};
    struct activations normed = carve_activations(&carver, count, d->hidden);
    int32_t *values = carve(&carver, (size_t)d->hidden * sizeof(int32_t));
    for (int64_t row = 0; row < count; row++) norm_pack(rows + row * d->hidden, d->hidden, d->epsilon, norm, values, &normed, row);
    project(head, &normed, count, out, NULL, LOGIT, failure, threads);
    return failure->fault;
}

/* tokens (count) within the vocabulary -> out (count, hidden). */
EXPORT int tally_embed(const int8_t *weight, const int32_t *scale, const int32_t *column, int shift, int hidden, const int64_t *tokens, int64_t count, int32_t *out, struct failure *failure) {
    failure->fault = FINE;
    for (int64_t row = 0; row < count; row++) {
        const int8_t *w = weight + tokens[row] * hidden;
        const int64_t m = scale[tokens[row]];
        int64_t far = 0;
        for (int j = 0; j < hidden; j++) {
            const int64_t r = shift >= 63 ? 0 : rsh((int64_t)w[j] * column[j] * m, shift);
            out[row * hidden + j] = (int32_t)r;
            far |= magnitude(r) > INT32_MAX;
        }
        if (far) fail(failure, EMBEDDING, row);
    }
    return failure->fault;
}

/* corrections (rows): see struct matrix. */
EXPORT void tally_corrections(const int8_t *weight, int64_t rows, int64_t columns, uint32_t *out) {
    for (int64_t n = 0; n < rows; n++) {
        const int8_t *w = weight + n * columns;
        uint32_t sum = 0;
        for (int64_t k = 0; k + 1 < columns; k += 2) sum += (uint32_t)((int32_t)w[k] * w[k + 1]);
        out[n] = sum;
    }
}

/* The bare product, for proofs and measurements: x (rows, columns) plain int16 -> out (rows, N) int32. */
EXPORT int tally_product(struct scratch *scratch, const struct matrix *w, const int16_t *x, int64_t rows, int32_t *out, int threads) {
    struct carver carver = {NULL, 0};
    carve_activations(&carver, rows, w->columns);
    carve(&carver, (size_t)w->columns * sizeof(int32_t));
    if (!hold(scratch, carver.used)) return MEMORY;
    carver = (struct carver){scratch->memory, 0};
    struct activations a = carve_activations(&carver, rows, w->columns);
    int32_t *wide = carve(&carver, (size_t)w->columns * sizeof(int32_t));
    struct failure failure = {FINE, 0};
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t k = 0; k < w->columns; k++) wide[k] = x[row * w->columns + k];
        pack32(wide, w->columns, 16 - w->shift, &a, row);
    }
    project(w, &a, rows, out, NULL, QKV, &failure, threads);
    return failure.fault;
}
