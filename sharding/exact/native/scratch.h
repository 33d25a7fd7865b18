/* Memory that a call carves up, so that no pass asks the system for any. */
#ifndef TALLYSTICK_SCRATCH_H
#define TALLYSTICK_SCRATCH_H

#include <stdlib.h>

#include "exact.h"

/* Memory for the rows of one call; kept between calls, for one caller at a time. */
struct scratch {
    void *memory;
    size_t size;
};

/* Carves pieces off the scratch memory, each on a cache line of its own; the first pass only counts. */
struct carver {
    char *at;
    size_t used;
};

INLINE void *carve(struct carver *carver, size_t bytes) {
    void *piece = carver->at == NULL ? NULL : carver->at + carver->used;
    carver->used += ROUND_UP(bytes, 64);
    return piece;
}

INLINE int hold(struct scratch *scratch, size_t bytes) {
    if (scratch->size >= bytes) return 1;
    free(scratch->memory);
    scratch->memory = aligned_alloc(64, ROUND_UP(bytes, 64));
    scratch->size = scratch->memory == NULL ? 0 : bytes;
    return scratch->memory != NULL;
}

INLINE struct activations carve_activations(struct carver *carver, int64_t rows, int64_t columns) {
    struct activations a;
    a.rows = rows;
    a.x = carve(carver, (size_t)(rows * ROUND_UP(columns, LANES)) * sizeof *a.x);
    a.fraction = carve(carver, (size_t)rows * sizeof *a.fraction);
    a.corrections = carve(carver, (size_t)rows * sizeof *a.corrections);
    return a;
}

#endif
