/* PROJECT: the products, which are nearly all of the work, and what makes Q16 numbers of them.
 *
 * One row of activations is bound by reading the weights once. For several rows the number of multiplications binds, and
 * Winograd's inner product halves it: over neighbours e, o of a row x and a row w
 *
 *     x_e w_e + x_o w_o = (x_e + w_o) (x_o + w_e) - x_e x_o - w_e w_o
 *
 * where the last two terms are sums over one row alone, known beforehand. Modulo 2^32 this is exact, and the result is
 * known to lie within int32 (SPEC.md section 1); |x| <= 32639 keeps x + w within int16. S. Winograd, 1968.
 */
#include <stdlib.h>
#include <string.h>

#include "exact.h"

#define PANEL 256

#ifdef __AVX2__
#include <immintrin.h>

/* Far enough ahead of the products that memory answers in time, and no row boundary matters: rows lie one after the other. */
#define AHEAD 1024

INLINE __m256i load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }

/* What is left of a row after its whole passes; zeros beyond. */
INLINE __m256i load_rest(const int8_t *w, int64_t left) {
    int8_t rest[LANES] = {0};
    memcpy(rest, w, (size_t)left);
    return load(rest);
}

INLINE __m256i even_of(__m256i w) { return _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8); }
INLINE __m256i odd_of(__m256i w) { return _mm256_srai_epi16(w, 8); }

/* One weight row against one row of activations: a single stream of reads is what memory serves best. */
INLINE int32_t direct(const int8_t *w, int64_t columns, const int16_t *x) {
    const int64_t whole = columns / LANES * LANES;
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (int64_t k = 0; k < whole; k += LANES) {
        _mm_prefetch((const char *)w + k + AHEAD, _MM_HINT_T0);
        const __m256i wk = load(w + k);
        even = _mm256_add_epi32(even, _mm256_madd_epi16(load(x + k), even_of(wk)));
        odd = _mm256_add_epi32(odd, _mm256_madd_epi16(load(x + k + LANES / 2), odd_of(wk)));
    }
    if (whole < columns) {
        const __m256i wk = load_rest(w + whole, columns - whole);
        even = _mm256_add_epi32(even, _mm256_madd_epi16(load(x + whole), even_of(wk)));
        odd = _mm256_add_epi32(odd, _mm256_madd_epi16(load(x + whole + LANES / 2), odd_of(wk)));
    }
    even = _mm256_add_epi32(even, odd);
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1));
    return _mm_cvtsi128_si32(sum);
}

/* Lane i of the result is the sum of all lanes of a[i]. */
INLINE __m256i sums_of(const __m256i *a) {
    const __m256i ab = _mm256_hadd_epi32(a[0], a[1]), cd = _mm256_hadd_epi32(a[2], a[3]);
    const __m256i ef = _mm256_hadd_epi32(a[4], a[5]), gh = _mm256_hadd_epi32(a[6], a[7]);
    const __m256i low = _mm256_hadd_epi32(ab, cd), high = _mm256_hadd_epi32(ef, gh);
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

/* Two weight rows against one pass of a tile; the sums of the first row come first. Registers are just enough. */
INLINE void winograd_pass(__m256i one, __m256i two, const int16_t *x, int count, __m256i *acc) {
    const __m256i one_even = even_of(one), one_odd = odd_of(one), two_even = even_of(two), two_odd = odd_of(two);
    for (int t = 0; t < count; t++) {
        const __m256i even = load(x + t * LANES), odd = load(x + t * LANES + LANES / 2);
        const __m256i u = _mm256_madd_epi16(_mm256_add_epi16(even, one_odd), _mm256_add_epi16(odd, one_even));
        acc[t] = _mm256_add_epi32(acc[t], u);
        __asm__("" : "+x"(acc[t])); /* one sum after the other, or compilers run out of registers */
        const __m256i v = _mm256_madd_epi16(_mm256_add_epi16(even, two_odd), _mm256_add_epi16(odd, two_even));
        acc[TILE + t] = _mm256_add_epi32(acc[TILE + t], v);
        __asm__("" : "+x"(acc[TILE + t]));
    }
}

/* Two weight rows against a tile of `count` rows of activations: lane t of the result is the first row's, lane TILE + t the second's. */
INLINE __m256i winograd(const int8_t *w, const int8_t *second, int64_t columns, const int16_t *x, int count, int ahead) {
    const int64_t whole = columns / LANES * LANES;
    __m256i acc[2 * TILE];
    for (int t = 0; t < 2 * TILE; t++) acc[t] = _mm256_setzero_si256();
    for (int64_t k = 0; k < whole; k += LANES) {
        if (ahead) _mm_prefetch((const char *)w + 2 * columns + 2 * k + AHEAD, _MM_HINT_T0); /* the next pair, as one stream */
        winograd_pass(load(w + k), load(second + k), x + k * count, count, acc);
    }
    if (whole < columns)
        winograd_pass(load_rest(w + whole, columns - whole), load_rest(second + whole, columns - whole), x + whole * count, count, acc);
    return sums_of(acc);
}

/* A constant count keeps the sums in registers; only the first tile of a panel has to wait for memory. */
static __m256i winograd_of(const int8_t *w, const int8_t *second, int64_t columns, const int16_t *x, int count, int ahead) {
    switch (count) {
    case 2: return winograd(w, second, columns, x, 2, 1);
    case 3: return winograd(w, second, columns, x, 3, 1);
    default: return ahead ? winograd(w, second, columns, x, 4, 1) : winograd(w, second, columns, x, 4, 0);
    }
}

/* A tile of one row: its passes lie one after the other. */
static void one_row(const int8_t *w, int64_t columns, const int16_t *x, int64_t step, int64_t n, int32_t *acc) {
    (void)step;
    for (int64_t i = 0; i < n; i++) acc[i] = direct(w + i * columns, columns, x);
}

/* sums (n rounded up to 4, TILE) by weight row -> acc (count, n) by row of activations, less what the trick put in. */
static void turn(const int32_t *sums, int64_t n, const uint32_t *weights, const uint32_t *inputs, int count, int32_t *acc) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const __m128i *from = (const __m128i *)(sums + i * TILE);
        const __m128i own = _mm_loadu_si128((const __m128i *)(weights + i));
        const __m128i ab = _mm_unpacklo_epi32(from[0], from[1]), cd = _mm_unpacklo_epi32(from[2], from[3]);
        const __m128i ef = _mm_unpackhi_epi32(from[0], from[1]), gh = _mm_unpackhi_epi32(from[2], from[3]);
        const __m128i turned[TILE] = {_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd), _mm_unpacklo_epi64(ef, gh), _mm_unpackhi_epi64(ef, gh)};
        for (int t = 0; t < count; t++) {
            const __m128i made = _mm_sub_epi32(_mm_sub_epi32(turned[t], own), _mm_set1_epi32((int32_t)inputs[t]));
            _mm_storeu_si128((__m128i *)(acc + t * n + i), made);
        }
    }
    for (; i < n; i++)
        for (int t = 0; t < count; t++) acc[t * n + i] = (int32_t)((uint32_t)sums[i * TILE + t] - weights[i] - inputs[t]);
}

/* acc (count, n) for n weight rows and a tile of at least two rows of activations. */
static void some_rows(const struct matrix *m, int64_t first, int64_t n, const struct activations *a, int64_t row, int count, int32_t *acc) {
    const int16_t *x = share_of(a, row, m->columns);
    const int8_t *w = m->weight + first * m->columns;
    __m256i sums[PANEL / 2 + 1];
    for (int64_t i = 0; i < n; i += 2) {
        const int64_t second = i + 1 < n ? i + 1 : i; /* an odd last row is its own partner */
        sums[i / 2] = winograd_of(w + i * m->columns, w + second * m->columns, m->columns, x, count, row == 0);
    }
    turn((const int32_t *)sums, n, m->corrections + first, a->corrections + row, count, acc);
}

#else

/* step: from one pass of the row to its next. */
static void one_row(const int8_t *w, int64_t columns, const int16_t *x, int64_t step, int64_t n, int32_t *acc) {
    for (int64_t i = 0; i < n; i++, w += columns) {
        const int16_t *share = x;
        int32_t sum = 0;
        int64_t k = 0;
        for (; k + LANES <= columns; k += LANES, share += step)
            for (int j = 0; j < LANES / 2; j++)
                sum += (int32_t)share[j] * w[k + 2 * j] + (int32_t)share[LANES / 2 + j] * w[k + 2 * j + 1];
        for (int64_t j = k; j < columns; j++) sum += (int32_t)share[(j - k) / 2 + (j - k) % 2 * (LANES / 2)] * w[j];
        acc[i] = sum;
    }
}

static void some_rows(const struct matrix *m, int64_t first, int64_t n, const struct activations *a, int64_t row, int count, int32_t *acc) {
    for (int t = 0; t < count; t++)
        one_row(m->weight + first * m->columns, m->columns, share_of(a, row + t, m->columns), (int64_t)LANES * count, n, acc + t * n);
}

#endif

/* Whether y lies outside [-(2^31 - 1), 2^31 - 1], as bits to collect; the lowest int32 itself is caught by `lowest`. */
INLINE int64_t far_out(int64_t y) { return (y + INT32_MAX) & ~0xFFFFFFFFLL; }

INLINE int lowest(const int32_t *y, int64_t n) {
    int found = 0;
    for (int64_t i = 0; i < n; i++) found |= y[i] == INT32_MIN;
    return found;
}

/* out = rsh(acc M, p) + b; returns whether something left int32. */
static int requantise(const struct matrix *m, int64_t first, int64_t n, const int32_t *acc, int p, int32_t *out) {
    const int32_t *scale = m->scale + first, *bias = m->bias == NULL ? NULL : m->bias + first;
    int64_t far = 0;
    if (p >= 63)
        for (int64_t i = 0; i < n; i++) out[i] = bias == NULL ? 0 : bias[i];
    else if (bias == NULL)
        for (int64_t i = 0; i < n; i++) {
            const int64_t y = rsh((int64_t)acc[i] * scale[i], p);
            out[i] = (int32_t)y;
            far |= far_out(y);
        }
    else
        for (int64_t i = 0; i < n; i++) {
            const int64_t y = rsh((int64_t)acc[i] * scale[i], p) + bias[i];
            out[i] = (int32_t)y;
            far |= far_out(y);
        }
    return far != 0 || lowest(out, n);
}

/* to = from + y; returns whether something left int32. */
static int add(const int32_t *y, const int32_t *from, int64_t n, int32_t *to) {
    int64_t far = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t sum = (int64_t)y[i] + from[i];
        to[i] = (int32_t)sum;
        far |= far_out(sum);
    }
    return far != 0 || lowest(to, n);
}

/* Weight rows that stay in the second-level cache while all rows of activations pass by. */
static int64_t panel_rows(int64_t columns) {
    const int64_t rows = (160 << 10) / columns;
    return rows < 16 ? 16 : rows > PANEL ? PANEL : rows / 8 * 8;
}

/* out (rows, N), or residual + that; out may be the residual. A shift below 0 is a SCALE fault. */
void project(const struct matrix *w, const struct activations *a, int64_t rows, int32_t *out, const int32_t *residual, int fault, struct failure *failure, int threads) {
    for (int64_t row = 0; row < rows; row++)
        if (w->shift + a->fraction[row] < 16) fail(failure, SCALE, row);
    if (failure->fault) return;
    const int64_t n = w->rows, panel = rows == 1 ? 64 : panel_rows(w->columns), panels = (n + panel - 1) / panel;
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
#endif
    for (int64_t number = 0; number < panels; number++) {
        const int64_t first = number * panel, width = n - first < panel ? n - first : panel;
        int32_t acc[TILE * PANEL];
        for (int64_t row = 0; row < rows; row += TILE) {
            const int count = (int)(rows - row < TILE ? rows - row : TILE);
            if (count == 1)
                one_row(w->weight + first * w->columns, w->columns, share_of(a, row, w->columns), LANES, width, acc);
            else
                some_rows(w, first, width, a, row, count, acc);
            for (int t = 0; t < count; t++) {
                const int64_t at = (row + t) * n + first;
                const int p = w->shift + a->fraction[row + t] - 16;
                int32_t *y = residual == NULL ? out + at : acc + t * width;
                if (requantise(w, first, width, acc + t * width, p, y)) fail(failure, fault, row + t);
                else if (residual != NULL && add(y, residual + at, width, out + at)) fail(failure, HIDDEN, row + t);
            }
        }
    }
}
