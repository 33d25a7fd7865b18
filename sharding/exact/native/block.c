/* One block over the rows of a batch. */
#include <string.h>

#include "exact.h"
#include "scratch.h"

#ifdef _OPENMP
#include <omp.h>
INLINE int thread_number(void) { return omp_get_thread_num(); }
#else
INLINE int thread_number(void) { return 0; }
#endif

/* Everything a block needs for `rows` rows. gates also holds queries, keys and values, which are used up by then. */
struct room {
    struct activations in, mixed, fed;
    int32_t *wide, *attended, *gated;
    int64_t *rotated;
    struct part *parts;
    char *per_thread;
    size_t per_thread_size;
};

static int64_t largest_of(int64_t a, int64_t b) { return a > b ? a : b; }

static struct room carve_room(struct carver *carver, const struct dimensions *d, const struct block *b, int64_t rows, int64_t parts, int64_t positions, int threads) {
    const int64_t queries = (int64_t)d->heads * d->head_dim;
    struct room room;
    room.in = carve_activations(carver, rows, d->hidden);
    room.mixed = carve_activations(carver, rows, queries);
    room.fed = carve_activations(carver, rows, d->intermediate);
    room.wide = carve(carver, (size_t)(rows * largest_of(b->qkv.rows, b->gate_up.rows)) * sizeof(int32_t));
    room.attended = carve(carver, (size_t)(rows * queries) * sizeof(int32_t));
    room.rotated = carve(carver, (size_t)(rows * queries) * sizeof(int64_t));
    room.parts = carve(carver, (size_t)parts * sizeof(struct part));
    room.per_thread_size = (size_t)ROUND_UP(largest_of(attend_scratch(positions, d->head_dim, rows), 4 * largest_of(d->hidden, d->intermediate)), 64);
    room.per_thread = carve(carver, room.per_thread_size * (size_t)threads);
    return room;
}

/* Over n independent steps; one step needs no team. */
#ifdef _OPENMP
#define PRAGMA(text) _Pragma(#text)
#define PARALLEL(n) PRAGMA(omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1 && (n) > 1))
#else
#define PARALLEL(n)
#endif

static char *own_scratch(const struct room *room) { return room->per_thread + room->per_thread_size * (size_t)thread_number(); }

static void norm_rows(const int32_t *rows, int64_t count, const struct dimensions *d, const struct norm *norm, const struct room *room, int threads) {
    struct activations in = room->in;
    (void)threads;
    PARALLEL(count)
    for (int64_t row = 0; row < count; row++) norm_pack(rows + row * d->hidden, d->hidden, d->epsilon, norm, (int32_t *)own_scratch(room), &in, row);
}

/* HEADNORM in place; returns whether something left int32. */
static int head_norm(int32_t *y, const struct dimensions *d, const struct norm *norm) {
    int64_t far = 0;
    int32_t n[1024];
    norm_values(y, d->head_dim, d->head_epsilon, n);
    for (int j = 0; j < d->head_dim; j++) {
        const int64_t v = rsh((int64_t)n[j] * norm->gain[j], 4 + norm->shift);
        y[j] = (int32_t)v;
        far |= magnitude(v) > INT32_MAX;
    }
    return far != 0;
}

/* Queries, keys and values of one row: normalised, rotated, keys and values kept; rotated queries to `rotated`. */
static void remember(int32_t *y, const struct dimensions *d, const struct block *b, const struct part *part, int64_t row, int64_t *rotated, struct failure *failure) {
    const int64_t position = part->start + row - part->first;
    const int16_t *table = d->rope + position * d->head_dim;
    for (int head = 0; head < d->heads + 2 * d->kv_heads; head++, y += d->head_dim) {
        const int is_query = head < d->heads, is_value = head >= d->heads + d->kv_heads;
        const struct norm *norm = is_query ? &b->q_norm : &b->k_norm;
        if (!is_value && norm->gain != NULL && head_norm(y, d, norm)) fail(failure, HEAD_NORM, row);
        if (is_query) {
            rotate(y, d->head_dim, table, rotated + (int64_t)head * d->head_dim);
            continue;
        }
        int64_t wide[1024];
        if (is_value)
            for (int j = 0; j < d->head_dim; j++) wide[j] = y[j];
        else
            rotate(y, d->head_dim, table, wide);
        const int64_t at = (int64_t)(head - d->heads - (is_value ? d->kv_heads : 0)) * part->capacity + place_of(part, position);
        const int exponent = compress(wide, d->head_dim, (is_value ? part->values : part->keys) + at * d->head_dim);
        if (exponent < 0) fail(failure, is_value ? VALUE : KEY, row);
        (is_value ? part->value_exponents : part->key_exponents)[at] = (uint8_t)exponent;
    }
}

static const struct part *part_of(const struct part *parts, int64_t row) {
    while (row >= parts->last) parts++;
    return parts;
}

/* The number-th group of neighbouring rows of one part. */
static struct part group_of(const struct part *parts, int64_t number) {
    int64_t groups;
    while (number >= (groups = (parts->last - parts->first + GROUP - 1) / GROUP)) {
        number -= groups;
        parts++;
    }
    struct part group = *parts;
    group.first += number * GROUP;
    group.start += number * GROUP;
    if (group.last > group.first + GROUP) group.last = group.first + GROUP;
    return group;
}

static void attend_rows(const struct dimensions *d, const struct part *parts, int64_t part_count, const struct room *room, struct failure *failure, int threads) {
    const int64_t width = (int64_t)d->heads * d->head_dim;
    int64_t groups = 0;
    for (int64_t i = 0; i < part_count; i++) groups += (parts[i].last - parts[i].first + GROUP - 1) / GROUP;
    (void)threads;
    PARALLEL(groups * d->heads)
    for (int64_t task = 0; task < groups * d->heads; task++) {
        const int64_t head = task / groups; /* head by head, so that neighbouring tasks read the same keys */
        const struct part part = group_of(parts, task % groups);
        const int64_t at = part.first * width + head * d->head_dim;
        const int bad = attend(room->rotated + at, d, &part, part.start, (int)head, (int)(part.last - part.first), width, own_scratch(room), room->attended + at);
        if (bad >= 0) fail(failure, QUERY, part.first + bad);
    }
}

static void gate_rows(const struct dimensions *d, int64_t rows, const struct room *room, struct failure *failure, int threads) {
    struct activations fed = room->fed;
    (void)threads;
    PARALLEL(rows)
    for (int64_t row = 0; row < rows; row++) {
        const int32_t *g = room->wide + row * 2 * d->intermediate;
        int32_t *gated = (int32_t *)own_scratch(room);
        int overflowed = 0;
        gate(g, g + d->intermediate, d->intermediate, gated, &overflowed);
        if (overflowed) fail(failure, GATED, row);
        else pack32(gated, d->intermediate, 16, &fed, row);
    }
}

static void feed_forward(const struct dimensions *d, const struct block *b, int32_t *rows, int64_t count, const struct room *room, struct failure *failure, int threads) {
    norm_rows(rows, count, d, &b->mlp_norm, room, threads);
    project(&b->gate_up, &room->in, count, room->wide, NULL, GATE_UP, failure, threads);
    if (failure->fault) return;
    gate_rows(d, count, room, failure, threads);
    if (failure->fault) return;
    project(&b->down, &room->fed, count, rows, rows, FEED_FORWARD_OUT, failure, threads);
}

/* Queries to `rotated`, keys and values to the caches. */
static void ask(const struct dimensions *d, const struct block *b, const int32_t *rows, int64_t count, const struct part *parts, const struct room *room, struct failure *failure, int threads) {
    const int64_t queries = (int64_t)d->heads * d->head_dim;
    norm_rows(rows, count, d, &b->attention_norm, room, threads);
    project(&b->qkv, &room->in, count, room->wide, NULL, QKV, failure, threads);
    if (failure->fault) return;
    PARALLEL(count)
    for (int64_t row = 0; row < count; row++) remember(room->wide + row * b->qkv.rows, d, b, part_of(parts, row), row, room->rotated + row * queries, failure);
}

/* Everything after the keys and values are kept. */
static void answer(const struct dimensions *d, const struct block *b, int32_t *rows, int64_t count, const struct part *parts, int64_t part_count, const struct room *room, struct failure *failure, int threads) {
    struct activations mixed = room->mixed;
    const int64_t queries = (int64_t)d->heads * d->head_dim;
    attend_rows(d, parts, part_count, room, failure, threads);
    if (failure->fault) return;
    for (int64_t row = 0; row < count; row++) pack32(room->attended + row * queries, queries, 16, &mixed, row);
    project(&b->o, &mixed, count, rows, rows, ATTENTION_OUT, failure, threads);
    if (!failure->fault) feed_forward(d, b, rows, count, room, failure, threads);
}

/* Keep the last row of each wanted part alone: rows and queries move up, those parts become one row each. Returns their number. */
static int64_t keep_last(const struct dimensions *d, int32_t *rows, struct part *parts, int64_t part_count, const struct room *room) {
    const int64_t queries = (int64_t)d->heads * d->head_dim;
    int64_t kept = 0;
    for (int64_t i = 0; i < part_count; i++) {
        const int64_t last = parts[i].last - 1;
        if (!parts[i].wanted) continue;
        memmove(rows + kept * d->hidden, rows + last * d->hidden, (size_t)d->hidden * sizeof *rows);
        memmove(room->rotated + kept * queries, room->rotated + last * queries, (size_t)queries * sizeof *room->rotated);
        parts[kept] = parts[i];
        parts[kept].start += last - parts[i].first;
        parts[kept].first = kept;
        parts[kept].last = kept + 1;
        kept++;
    }
    return kept;
}

/* The row of the batch that became number `kept` of the last rows. */
static int64_t row_of_kept(const struct part *parts, int64_t kept) {
    while (!parts->wanted || kept-- > 0) parts++;
    return parts->last - 1;
}

/* The caches of one block of the span. */
static struct part part_at(struct part part, const struct dimensions *d, int place) {
    const int64_t positions = (int64_t)place * d->kv_heads * part.capacity;
    part.keys += positions * d->head_dim;
    part.values += positions * d->head_dim;
    part.key_exponents += positions;
    part.value_exponents += positions;
    return part;
}

/* rows (count, hidden) in and out, changed in place; the parts' caches are those of the whole span, place is the block's in it.
 * With `final` only the last row of each wanted part is computed to its end and moved to the front, one for each such part. */
EXPORT int tally_block(struct scratch *scratch, const struct dimensions *d, const struct block *b, int place, int32_t *rows, int64_t count, const struct part *parts, int64_t part_count, int final, int threads, struct failure *failure) {
    int64_t positions = 0;
    for (int64_t i = 0; i < part_count; i++) positions = largest_of(positions, parts[i].start + parts[i].last - parts[i].first);
    struct carver counting = {NULL, 0};
    carve_room(&counting, d, b, count, part_count, positions, threads);
    failure->fault = FINE;
    if (!hold(scratch, counting.used)) return failure->fault = MEMORY;
    struct carver carver = {scratch->memory, 0};
    struct room room = carve_room(&carver, d, b, count, part_count, positions, threads);
    for (int64_t i = 0; i < part_count; i++) room.parts[i] = part_at(parts[i], d, place);
    ask(d, b, rows, count, room.parts, &room, failure, threads);
    if (failure->fault) return failure->fault;
    if (final) {
        part_count = count = room.in.rows = room.mixed.rows = room.fed.rows = keep_last(d, rows, room.parts, part_count, &room);
        if (count == 0) return failure->fault;
    }
    answer(d, b, rows, count, room.parts, part_count, &room, failure, threads);
    if (failure->fault && final) failure->row = row_of_kept(parts, failure->row);
    return failure->fault;
}
