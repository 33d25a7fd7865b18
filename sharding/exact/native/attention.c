/* ATTEND: a few neighbouring queries of one head against the cache of its key/value head.
 *
 * Keys and values pass page by page, which stay in the first-level cache while all queries of the group use them.
 */
#include <stdlib.h>
#include <string.h>

#include "exact.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

/* One query's visible positions [oldest, end) and what it needs for them; index 0 is `oldest`. */
struct query {
    int64_t oldest, end;
    int exponent;
    int64_t *z;
    int32_t *dot, *p;
    int16_t *lowered, *q;
    int64_t *acc;
    uint8_t *exponents; /* of the values */
};

static int64_t query_bytes(int64_t positions, int d) {
    const int64_t t = ROUND_UP(positions, 16);
    return ROUND_UP(t * (int64_t)(sizeof(int64_t) + 2 * sizeof(int32_t) + sizeof(int16_t) + sizeof(uint8_t)) + d * (int64_t)(sizeof(int64_t) + sizeof(int16_t)), 64);
}

int64_t attend_scratch(int64_t positions, int d, int64_t rows) {
    return query_bytes(positions, d) * (rows < GROUP ? rows : GROUP);
}

static struct query query_in(char *memory, int64_t positions, int d) {
    const int64_t t = ROUND_UP(positions, 16);
    struct query q = {0};
    q.z = (int64_t *)memory;
    q.acc = q.z + t;
    q.dot = (int32_t *)(q.acc + d);
    q.p = q.dot + t;
    q.lowered = (int16_t *)(q.p + t);
    q.q = q.lowered + t;
    q.exponents = (uint8_t *)(q.q + d);
    return q;
}

/* Any head size: the sum may need more than 32 bits past 128 products. */
static int64_t dot_of(const int16_t *a, const int16_t *b, int d) {
    int64_t sum = 0;
    for (int from = 0; from < d; from += 128) {
        int32_t piece = 0;
        for (int j = from; j < d && j < from + 128; j++) piece += (int32_t)a[j] * b[j];
        sum += piece;
    }
    return sum;
}

#ifdef __AVX2__

INLINE __m256i load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }

/* Eight keys at a time, for d a multiple of 16 up to 128. */
INLINE void dots_of(const int16_t *q, const int16_t *keys, int64_t n, int d, int32_t *out) {
    int64_t t = 0;
    for (; t + 8 <= n; t += 8) {
        __m256i acc[8];
        for (int i = 0; i < 8; i++) acc[i] = _mm256_madd_epi16(load(q), load(keys + (t + i) * d));
        for (int j = 16; j < d; j += 16) {
            const __m256i qj = load(q + j);
            for (int i = 0; i < 8; i++) acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(qj, load(keys + (t + i) * d + j)));
        }
        const __m256i ab = _mm256_hadd_epi32(acc[0], acc[1]), cd = _mm256_hadd_epi32(acc[2], acc[3]);
        const __m256i ef = _mm256_hadd_epi32(acc[4], acc[5]), gh = _mm256_hadd_epi32(acc[6], acc[7]);
        const __m256i low = _mm256_hadd_epi32(ab, cd), high = _mm256_hadd_epi32(ef, gh);
        const __m256i sums = _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
        _mm256_storeu_si256((__m256i *)(out + t), sums);
    }
    for (; t < n; t++) out[t] = (int32_t)dot_of(q, keys + t * d, d);
}

/* Up to 16 positions and 16 `width` dimensions: 16 * 32767 * 4095 < 2^31, so the sums over them fit int32. */
INLINE void mix_block(const int16_t *p, const int16_t *values, int pairs, int d, int width, int64_t *acc) {
    __m256i low[4], high[4];
    for (int i = 0; i < width; i++) low[i] = high[i] = _mm256_setzero_si256();
    for (int pair = 0; pair < pairs; pair++, values += 2 * d) {
        int32_t both;
        memcpy(&both, p + 2 * pair, sizeof both);
        const __m256i weights = _mm256_set1_epi32(both);
        for (int i = 0; i < width; i++) {
            const __m256i one = load(values + 16 * i), other = load(values + d + 16 * i);
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(weights, _mm256_unpacklo_epi16(one, other)));
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(weights, _mm256_unpackhi_epi16(one, other)));
        }
    }
    for (int i = 0; i < width; i++, acc += 16) { /* unpack works on halves: low holds dimensions 0-3 and 8-11, high 4-7 and 12-15 */
        const __m128i quarters[4] = {_mm256_castsi256_si128(low[i]), _mm256_castsi256_si128(high[i]),
                                     _mm256_extracti128_si256(low[i], 1), _mm256_extracti128_si256(high[i], 1)};
        for (int q = 0; q < 4; q++) {
            __m256i *to = (__m256i *)(acc + 4 * q);
            _mm256_storeu_si256(to, _mm256_add_epi64(_mm256_loadu_si256(to), _mm256_cvtepi32_epi64(quarters[q])));
        }
    }
}

#endif

/* z from the products: shifts of 4 to 36 bits, one for each position. */
static void scale_scores(const int32_t *restrict dot, const uint8_t *restrict exponents, int64_t n, int exponent, int32_t constant, int64_t *restrict z) {
    const uint64_t offset = 1ULL << 62;
    for (int64_t t = 0; t < n; t++) z[t] = 36 - exponent - exponents[t];
    for (int64_t t = 0; t < n; t++) {
        const uint64_t shift = (uint64_t)z[t], product = (uint64_t)((int64_t)dot[t] * constant) + offset;
        z[t] = (int64_t)(((product + (offset >> (63 - shift))) >> shift) - (offset >> shift));
    }
}

/* The scores of a query against keys (n, d) from its `at`-th visible position on. */
static void score_block(struct query *query, const int16_t *keys, const uint8_t *exponents, int64_t at, int64_t n, int d, int64_t constant) {
    const int16_t *q = query->q;
    int32_t *dot = query->dot + at;
    if (d > 128) {
        for (int64_t t = 0; t < n; t++) query->z[at + t] = rsh(dot_of(q, keys + t * d, d) * constant, 36 - query->exponent - exponents[t]);
        return;
    }
#ifdef __AVX2__
    if (d == 64) dots_of(q, keys, n, 64, dot);
    else if (d == 128) dots_of(q, keys, n, 128, dot);
    else if (d % 16 == 0) dots_of(q, keys, n, d, dot);
    else
#endif
        for (int64_t t = 0; t < n; t++) dot[t] = (int32_t)dot_of(q, keys + t * d, d);
    scale_scores(dot, exponents, n, query->exponent, (int32_t)constant, query->z + at);
}

/* p from z; returns its sum. */
static int64_t weigh(const int64_t *restrict z, int64_t n, int32_t *restrict y, int32_t *restrict p) {
    int64_t highest = z[0], total = 0;
    for (int64_t t = 1; t < n; t++) highest = z[t] > highest ? z[t] : highest;
    for (int64_t t = 0; t < n; t++) {
        const int64_t below = highest - z[t];
        y[t] = (int32_t)(below < (1 << 20) ? below : (1 << 20));
    }
    for (int64_t t = 0; t < n; t++) {
        const uint32_t i = (uint32_t)y[t] >> 16;
        p[t] = (int32_t)((exp2_mantissa((uint32_t)y[t]) + (1u << i)) >> (i + 1));
    }
    for (int64_t t = 0; t < n; t++) total += p[t];
    return total;
}

/* rsh(p, E - ve); returns E. */
static int lower(const int32_t *restrict p, const uint8_t *restrict exponents, int64_t n, int16_t *restrict lowered) {
    uint8_t highest = 0;
    for (int64_t t = 0; t < n; t++) highest = exponents[t] > highest ? exponents[t] : highest;
    for (int64_t t = 0; t < n; t++) {
        const uint32_t down = (uint32_t)(highest - exponents[t]);
        lowered[t] = (int16_t)((2u * (uint32_t)p[t] + (1u << down)) >> (down + 1));
    }
    return highest;
}

/* Adds p (n) times values (n, d) to acc (d). */
static void mix(const int16_t *p, const int16_t *values, int64_t n, int d, int64_t *acc) {
    int from = 0;
    int64_t rest = 0; /* the positions that vectors have not seen, for the dimensions before `from` */
#ifdef __AVX2__
    from = d / 16 * 16;
    rest = n / 2 * 2;
    for (int64_t t = 0; t < rest; t += 16) {
        const int pairs = rest - t < 16 ? (int)(rest - t) / 2 : 8;
        int j = 0;
        for (; j + 64 <= from; j += 64) mix_block(p + t, values + t * d + j, pairs, d, 4, acc + j);
        for (; j < from; j += 16) mix_block(p + t, values + t * d + j, pairs, d, 1, acc + j);
    }
#endif
    for (int64_t t = rest; t < n; t++)
        for (int j = 0; j < from; j++) acc[j] += (int64_t)p[t] * values[t * d + j];
    for (int64_t t = 0; t < n; t++)
        for (int j = from; j < d; j++) acc[j] += (int64_t)p[t] * values[t * d + j];
}

/* The part of [from, from + PAGE) that the query sees: its first position, and how many. */
INLINE int64_t seen_from(const struct query *q, int64_t from) { return from < q->oldest ? q->oldest : from; }

INLINE int64_t seen_count(const struct query *q, int64_t from) {
    const int64_t end = from + PAGE < q->end ? from + PAGE : q->end, first = seen_from(q, from);
    return end > first ? end - first : 0;
}

static void finish(struct query *q, int d, int64_t total, int highest, int32_t *out) {
    const int length = bits((uint64_t)total);
    const int64_t reciprocal = (1LL << (16 + length)) / total;
    for (int j = 0; j < d; j++) out[j] = (int32_t)rsh(q->acc[j] * reciprocal, 16 + length - highest);
}

/* queries (count <= GROUP rows, `stride` apart) are rotated, the first stands at `position`; out likewise, Q16.
 * Returns the number of the first row that overflows, or -1. */
int attend(const int64_t *queries, const struct dimensions *dims, const struct part *part, int64_t position, int head, int count, int64_t stride, char *scratch, int32_t *out) {
    const int d = dims->head_dim;
    const int64_t end = position + count, base = (int64_t)(head / (dims->heads / dims->kv_heads)) * part->capacity;
    const int16_t *keys = part->keys + base * d, *values = part->values + base * d;
    struct query group[GROUP];
    int64_t total[GROUP];
    int highest[GROUP];
    for (int i = 0; i < count; i++) {
        group[i] = query_in(scratch + i * query_bytes(end, d), end, d);
        group[i].end = position + i + 1;
        group[i].oldest = dims->window != 0 && group[i].end > dims->window ? group[i].end - dims->window : 0;
        group[i].exponent = compress(queries + i * stride, d, group[i].q);
        if (group[i].exponent < 0) return i;
        memset(group[i].acc, 0, (size_t)d * sizeof(int64_t));
    }
    const int64_t start = group[0].oldest / PAGE * PAGE;
    for (int64_t from = start; from < end; from += PAGE)
        for (int i = 0; i < count; i++) {
            const int64_t t = seen_from(&group[i], from), n = seen_count(&group[i], from);
            if (n <= 0) continue;
            const int64_t place = place_of(part, t);
            score_block(&group[i], keys + place * d, part->key_exponents + base + place, t - group[i].oldest, n, d, dims->score_constant);
            memcpy(group[i].exponents + (t - group[i].oldest), part->value_exponents + base + place, (size_t)n);
        }
    for (int i = 0; i < count; i++) {
        const int64_t n = group[i].end - group[i].oldest;
        total[i] = weigh(group[i].z, n, group[i].dot, group[i].p);
        highest[i] = lower(group[i].p, group[i].exponents, n, group[i].lowered);
    }
    for (int64_t from = start; from < end; from += PAGE)
        for (int i = 0; i < count; i++) {
            const int64_t t = seen_from(&group[i], from), n = seen_count(&group[i], from);
            if (n > 0) mix(group[i].lowered + (t - group[i].oldest), values + place_of(part, t) * d, n, d, group[i].acc);
        }
    for (int i = 0; i < count; i++) finish(&group[i], d, total[i], highest[i], out + i * stride);
    return -1;
}
