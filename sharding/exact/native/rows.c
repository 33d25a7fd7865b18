/* What happens to one row alone: norms, packing into activations, the gate, rotation, compression. */
#include <string.h>

#include "exact.h"

static uint64_t isqrt64(uint64_t v) {
    uint64_t r = (uint64_t)__builtin_sqrt((double)v);
    while (r * r > v) r--;
    while ((r + 1) * (r + 1) <= v) r++;
    return r;
}

/* PACK's shift. */
static int pack_shift(int64_t largest, int64_t total, int64_t n) {
    int s = 0;
    while (rsh(largest, s) > MAX_ACTIVATION || (total >> s) + n > MAX_ACTIVATION_SUM) s++;
    return s;
}

/* Rounded numbers into passes, 16 even columns and then their 16 odd neighbours, from column `from` on; returns their share of the correction. */
static uint32_t lay_out(const int16_t *restrict x, int64_t from, int64_t width, const struct activations *out, int64_t row, int64_t columns) {
    const int64_t step = LANES * tile_width(out, row);
    int16_t *restrict to = share_of(out, row, columns) + from / LANES * step;
    uint32_t correction = 0;
    for (int64_t pass = 0; pass < width; pass += LANES, to += step) {
        for (int j = 0; j < LANES / 2; j++) to[j] = x[pass + 2 * j];
        for (int j = 0; j < LANES / 2; j++) to[LANES / 2 + j] = x[pass + 2 * j + 1];
        for (int j = 0; j < LANES / 2; j++) correction += (uint32_t)((int32_t)to[j] * to[LANES / 2 + j]);
    }
    return correction;
}

#define PIECE 4096

void pack32(const int32_t *t, int64_t n, int fraction, struct activations *out, int64_t row) {
    uint32_t largest = 0;
    int64_t total = 0;
    for (int64_t k = 0; k < n; k++) {
        const uint32_t m = t[k] < 0 ? -(uint32_t)t[k] : (uint32_t)t[k];
        largest = m > largest ? m : largest;
        total += m;
    }
    const int s = pack_shift(largest, total, n);
    const int64_t padded = ROUND_UP(n, LANES), half = (1LL << s) >> 1;
    int16_t x[PIECE];
    uint32_t correction = 0;
    for (int64_t from = 0; from < padded; from += PIECE) {
        const int64_t width = padded - from < PIECE ? padded - from : PIECE, filled = n - from < width ? n - from : width;
        for (int64_t k = 0; k < filled; k++) x[k] = (int16_t)(((int64_t)t[from + k] + half) >> s);
        for (int64_t k = filled; k < width; k++) x[k] = 0;
        correction += lay_out(x, from, width, out, row, n);
    }
    out->corrections[row] = correction;
    out->fraction[row] = fraction - s;
}

void norm_values(const int32_t *r, int64_t n, int64_t epsilon, int32_t *out) {
    uint32_t largest = 0;
    for (int64_t k = 0; k < n; k++) {
        const uint32_t m = r[k] < 0 ? -(uint32_t)r[k] : (uint32_t)r[k];
        largest = m > largest ? m : largest;
    }
    const int e = bits(largest) > NORM_BITS ? bits(largest) - NORM_BITS : 0;
    const int64_t half = (1LL << e) >> 1;
    int64_t w = 0;
    for (int64_t k = 0; k < n; k++) {
        const int32_t u = (int32_t)(((int64_t)r[k] + half) >> e);
        out[k] = u;
        w += (int64_t)u * u;
    }
    w += epsilon >> (2 * e);
    if (w < 1) w = 1;
    const int z = (62 - bits(w)) >> 1;
    const uint64_t root = isqrt64((uint64_t)w << (2 * z));
    const int32_t inverse = (int32_t)((isqrt64((uint64_t)n << 44) << 30) / root);
    for (int64_t k = 0; k < n; k++) out[k] = (int32_t)rsh((int64_t)out[k] * inverse, 32 - z);
}

void norm_pack(const int32_t *r, int64_t n, int64_t epsilon, const struct norm *norm, int32_t *scratch, struct activations *out, int64_t row) {
    norm_values(r, n, epsilon, scratch);
    const int32_t *gain = norm->gain;
    int64_t largest = 0, total = 0;
    for (int64_t k = 0; k < n; k++) {
        const int64_t m = magnitude((int64_t)scratch[k] * gain[k]);
        largest = m > largest ? m : largest;
        total += m;
    }
    const int s = pack_shift(largest, total, n);
    const int64_t padded = ROUND_UP(n, LANES);
    int16_t x[PIECE];
    uint32_t correction = 0;
    for (int64_t from = 0; from < padded; from += PIECE) {
        const int64_t width = padded - from < PIECE ? padded - from : PIECE, filled = n - from < width ? n - from : width;
        for (int64_t k = 0; k < filled; k++) x[k] = (int16_t)rsh((int64_t)scratch[from + k] * gain[from + k], s);
        for (int64_t k = filled; k < width; k++) x[k] = 0;
        correction += lay_out(x, from, width, out, row, n);
    }
    out->corrections[row] = correction;
    out->fraction[row] = 20 + norm->shift - s;
}

/* The sigmoid of g in Q16. */
INLINE int32_t sigmoid(int32_t g) {
    const uint32_t m = g < 0 ? -(uint32_t)g : (uint32_t)g, a = m < (1u << 20) ? m : (1u << 20);
    const uint32_t y = (((a + 2) >> 2) * 11819u) >> 11, i = y >> 16;
    const uint32_t e = (exp2_mantissa(y) + ((1u << i) >> 1)) >> i;
    /* Exact: both numbers are whole and the quotient is further from the next whole number than a double errs. */
    const int32_t s = (int32_t)(4294967296.0 / (double)(int32_t)(65536 + e));
    return g < 0 ? 65536 - s : s;
}

void gate(const int32_t *restrict g, const int32_t *restrict u, int64_t n, int32_t *restrict out, int *overflowed) {
    int64_t far = 0;
    for (int64_t k = 0; k < n; k++) out[k] = sigmoid(g[k]);
    for (int64_t k = 0; k < n; k++) {
        const int32_t silu = (int32_t)rsh((int64_t)g[k] * out[k], 16);
        const int64_t h = rsh((int64_t)silu * u[k], 16);
        out[k] = (int32_t)h;
        far |= (h + INT32_MAX) & ~0xFFFFFFFFLL;
    }
    for (int64_t k = 0; k < n; k++) far |= out[k] == INT32_MIN;
    *overflowed |= far != 0;
}

/* ROTATE one head: y (d), table (d / 2, 2). */
void rotate(const int32_t *restrict y, int d, const int16_t *restrict table, int64_t *restrict out) {
    const int half = d / 2;
    for (int i = 0; i < half; i++) {
        const int32_t a = y[i], b = y[half + i], c = table[2 * i], s = table[2 * i + 1];
        out[i] = rsh((int64_t)a * c - (int64_t)b * s, ROPE_BITS);
        out[half + i] = rsh((int64_t)b * c + (int64_t)a * s, ROPE_BITS);
    }
}

/* COMPRESS one head; the exponent, or -1 where it overflows. */
int compress(const int64_t *y, int n, int16_t *out) {
    int64_t largest = 0;
    for (int j = 0; j < n; j++) largest = magnitude(y[j]) > largest ? magnitude(y[j]) : largest;
    if (largest >= ROTATED_LIMIT) return -1;
    const int e = bits(largest) > HEAD_BITS ? bits(largest) - HEAD_BITS : 0;
    const int32_t half = (1 << e) >> 1;
    for (int j = 0; j < n; j++) {
        const int32_t h = ((int32_t)y[j] + half) >> e;
        out[j] = (int16_t)(h > HEAD_LIMIT ? HEAD_LIMIT : h < -HEAD_LIMIT ? -HEAD_LIMIT : h);
    }
    return e;
}
