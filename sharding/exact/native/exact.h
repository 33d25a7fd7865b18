/* The compiled arithmetic of the exact profile: what Python and the parts of the library share. SPEC.md is the law. */
#ifndef TALLYSTICK_EXACT_H
#define TALLYSTICK_EXACT_H

#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#define MAX_ACTIVATION 32639
#define MAX_ACTIVATION_SUM (1LL << 24)
#define NORM_BITS 22
#define HEAD_BITS 12
#define HEAD_LIMIT 4095
#define ROTATED_LIMIT (1LL << 28)
#define ROPE_BITS 14

/* A pass of the product: 32 columns, first the 16 even ones, then the 16 odd ones. */
#define LANES 32
#define TILE 4
/* Queries of one head that go through its cache together. */
#define GROUP 8
/* Positions that lie together in a cache, and pass through attention together. */
#define PAGE 64
#define ROUND_UP(n, to) (((n) + (to) - 1) / (to) * (to))

/* What went wrong, in Python's order of native.py. */
enum fault { FINE, QKV, HEAD_NORM, QUERY, KEY, VALUE, ATTENTION_OUT, GATE_UP, GATED, FEED_FORWARD_OUT, HIDDEN, LOGIT, EMBEDDING, SCALE, MEMORY };

struct norm {
    const int32_t *gain;
    int32_t shift;
};

/* corrections[n] is the sum of products of neighbouring weights of row n, modulo 2^32. */
struct matrix {
    const int8_t *weight;
    const int32_t *scale;
    const int32_t *bias;
    const uint32_t *corrections;
    int32_t shift, rows, columns;
};

struct block {
    struct norm attention_norm, q_norm, k_norm, mlp_norm;
    struct matrix qkv, o, gate_up, down;
};

/* window is 0 where there is none. */
struct dimensions {
    int32_t hidden, heads, kv_heads, head_dim, intermediate, window;
    int64_t epsilon, head_epsilon, score_constant;
    const int16_t *rope;
};

/* One session's rows; keys and values (kv_heads, capacity, head_dim), exponents (kv_heads, capacity), for one block or all of a span.
 * pages says where its positions lie among the capacity, PAGE at a time; NULL where they lie in order from the first on.
 * wanted: whether the last block finishes the part's last row. */
struct part {
    int16_t *keys, *values;
    uint8_t *key_exponents, *value_exponents;
    const int32_t *pages;
    int64_t capacity, first, last, start, wanted;
};

/* Rows of activations: x in tiles of up to TILE rows and in each tile pass by pass, all its rows' shares of a pass together,
 * so that a product reads it as one stream; fraction; and the sum of x_even x_odd modulo 2^32. */
struct activations {
    int64_t rows;
    int16_t *x;
    int32_t *fraction;
    uint32_t *corrections;
};

struct failure {
    int32_t fault;
    int64_t row;
};

/* Where a session's position lies in its cache. */
INLINE int64_t place_of(const struct part *part, int64_t position) {
    return part->pages == NULL ? position : (int64_t)part->pages[position / PAGE] * PAGE + position % PAGE;
}

/* Remember the failure of the lowest row. */
INLINE void fail(struct failure *failure, int fault, int64_t row) {
#ifdef _OPENMP
#pragma omp critical(failing)
#endif
    if (failure->fault == FINE || row < failure->row) {
        failure->fault = fault;
        failure->row = row;
    }
}

/* a / 2^s to the nearest, halves upwards, for |a| <= 2^62 and 0 <= s <= 62: a logical shift of a positive number, which vectors have. */
INLINE int64_t rsh(int64_t a, int s) {
    const uint64_t offset = 1ULL << 62, half = (1ULL << s) >> 1;
    return (int64_t)(((uint64_t)a + half + offset) >> s) - (int64_t)(offset >> s);
}

INLINE int bits(uint64_t a) { return a ? 64 - __builtin_clzll(a) : 0; }

INLINE int64_t magnitude(int64_t a) { return a < 0 ? -a : a; }

/* P of EXP2. */
INLINE uint32_t exp2_mantissa(uint32_t y) {
    const uint32_t a = y & 0xFFFF;
    return 65534 - ((a * (45414 - ((a * (15687 - ((a * (3494 - ((a * 454) >> 16))) >> 16))) >> 16))) >> 16);
}

/* The rows in the tile of `row`, and where the row's share of its first pass lies; the next pass's is LANES * width further on. */
INLINE int64_t tile_width(const struct activations *a, int64_t row) {
    const int64_t left = a->rows - row / TILE * TILE;
    return left < TILE ? left : TILE;
}

INLINE int16_t *share_of(const struct activations *a, int64_t row, int64_t columns) {
    return a->x + row / TILE * TILE * ROUND_UP(columns, LANES) + row % TILE * LANES;
}

void pack32(const int32_t *t, int64_t n, int fraction, struct activations *out, int64_t row);
void norm_values(const int32_t *r, int64_t n, int64_t epsilon, int32_t *out);
void norm_pack(const int32_t *r, int64_t n, int64_t epsilon, const struct norm *norm, int32_t *scratch, struct activations *out, int64_t row);
void gate(const int32_t *g, const int32_t *u, int64_t n, int32_t *out, int *overflowed);
void project(const struct matrix *w, const struct activations *a, int64_t rows, int32_t *out, const int32_t *residual, int fault, struct failure *failure, int threads);
int64_t attend_scratch(int64_t positions, int d, int64_t rows);
int attend(const int64_t *queries, const struct dimensions *d, const struct part *part, int64_t position, int head, int count, int64_t stride, char *scratch, int32_t *out);
int compress(const int64_t *y, int n, int16_t *out);
void rotate(const int32_t *y, int d, const int16_t *table, int64_t *out);

#endif
