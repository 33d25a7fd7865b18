/* The root over a tensor's pieces: docs/TRACE.md, section 2, and sharding/merkle.py. Keccak-256 is Ethereum's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exact.h"

/* The tables' values become constants of the instructions. */
#define UNROLLED _Pragma("GCC unroll 25")

enum { RATE = 136, HASH = 32, WORDS = 25, ROUNDS = 24 };

static const uint64_t ROUND_CONSTANTS[ROUNDS] = {
    0x0000000000000001u, 0x0000000000008082u, 0x800000000000808au, 0x8000000080008000u, 0x000000000000808bu, 0x0000000080000001u,
    0x8000000080008081u, 0x8000000000008009u, 0x000000000000008au, 0x0000000000000088u, 0x0000000080008009u, 0x000000008000000au,
    0x000000008000808bu, 0x800000000000008bu, 0x8000000000008089u, 0x8000000000008003u, 0x8000000000008002u, 0x8000000000000080u,
    0x000000000000800au, 0x800000008000000au, 0x8000000080008081u, 0x8000000000008080u, 0x0000000080000001u, 0x8000000080008008u,
};
/* Along the path that a lane takes through the state: where it goes, and by how much it is turned (rho and pi). */
static const uint8_t TARGET[WORDS - 1] = {10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1};
static const uint8_t TURN[WORDS - 1] = {1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44};

static uint64_t turned(uint64_t lane, unsigned by) { return lane << by | lane >> (64 - by); }

static void permute(uint64_t given[WORDS]) {
    uint64_t state[WORDS]; /* a copy that can live in registers */
    memcpy(state, given, sizeof state);
    for (int round = 0; round < ROUNDS; ++round) {
        uint64_t column[5];
        UNROLLED for (int x = 0; x < 5; ++x) column[x] = state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20];
        UNROLLED for (int x = 0; x < 5; ++x) {
            uint64_t mixed = column[(x + 4) % 5] ^ turned(column[(x + 1) % 5], 1);
            UNROLLED for (int y = 0; y < WORDS; y += 5) state[x + y] ^= mixed;
        }
        uint64_t moving = state[1];
        UNROLLED for (int k = 0; k < WORDS - 1; ++k) {
            uint64_t next = state[TARGET[k]];
            state[TARGET[k]] = turned(moving, TURN[k]);
            moving = next;
        }
        UNROLLED for (int y = 0; y < WORDS; y += 5) {
            uint64_t row[5];
            memcpy(row, state + y, sizeof row);
            UNROLLED for (int x = 0; x < 5; ++x) state[x + y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
        }
        state[0] ^= ROUND_CONSTANTS[round];
    }
    memcpy(given, state, sizeof state);
}

/* Little-endian, whatever the machine is. */
static uint64_t lane_of(const uint8_t *bytes) {
    uint64_t lane = 0;
    for (int k = 7; k >= 0; --k) lane = lane << 8 | bytes[k];
    return lane;
}

static void absorb(uint64_t state[WORDS], const uint8_t *block) {
    for (int k = 0; k < RATE / 8; ++k) state[k] ^= lane_of(block + 8 * k);
    permute(state);
}

/* `out` may lie in `data`. */
static void keccak(const uint8_t *data, size_t length, uint8_t out[HASH]) {
    uint64_t state[WORDS] = {0};
    uint8_t last[RATE] = {0};
    for (; length >= RATE; data += RATE, length -= RATE) absorb(state, data);
    memcpy(last, data, length);
    last[length] ^= 0x01;
    last[RATE - 1] ^= 0x80;
    absorb(state, last);
    for (int k = 0; k < HASH; ++k) out[k] = (uint8_t)(state[k / 8] >> 8 * (k % 8));
}

static void leaf(uint64_t index, const uint8_t *elements, size_t bytes, uint8_t out[HASH]) {
    uint8_t data[8 + 512];
    for (int k = 0; k < 8; ++k) data[k] = (uint8_t)(index >> (56 - 8 * k));
    memcpy(data + 8, elements, bytes);
    keccak(data, 8 + bytes, out);
    keccak(out, HASH, out);
}

static void pair(const uint8_t *one, const uint8_t *other, uint8_t out[HASH]) {
    uint8_t both[2 * HASH];
    int sorted = memcmp(one, other, HASH) < 0;
    memcpy(both, sorted ? one : other, HASH);
    memcpy(both + HASH, sorted ? other : one, HASH);
    keccak(both, sizeof both, out);
}

/* `rows` rows of `row_bytes`, each cut into pieces of `step` bytes (at most 512), the last of a row may be shorter.
   Not 0 where there is no memory for the leaves. */
EXPORT int tally_pieces_root(const uint8_t *data, int64_t rows, int64_t row_bytes, int64_t step, uint8_t *root) {
    int64_t per_row = (row_bytes + step - 1) / step, count = rows * per_row;
    uint8_t *level = malloc((size_t)count * HASH);
    if (level == NULL) return 1;
#pragma omp parallel for schedule(static)
    for (int64_t index = 0; index < count; ++index) {
        int64_t row = index / per_row, first = index % per_row * step;
        int64_t bytes = first + step < row_bytes ? step : row_bytes - first;
        leaf((uint64_t)index, data + row * row_bytes + first, (size_t)bytes, level + index * HASH);
    }
    for (; count > 1; count = (count + 1) / 2) {
        for (int64_t k = 0; k < count / 2; ++k) pair(level + 2 * k * HASH, level + (2 * k + 1) * HASH, level + k * HASH);
        if (count % 2) memmove(level + count / 2 * HASH, level + (count - 1) * HASH, HASH);
    }
    memcpy(root, level, HASH);
    free(level);
    return 0;
}
