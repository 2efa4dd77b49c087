/* The weighted mean of float32 models, tile by tile.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "threads.h"

/* Elements that a thread takes at a time, where there are many: four tiles. With one thread the
 * longer runs are worth 5 % at 16 models, and a queue of few tiles would leave threads idle at its
 * end. */
#define LONG_TILE (4 * TILE_LENGTH)
#define LONG_FROM (64 * TILE_LENGTH)

/* All leaves of all models. Row k of `models` holds model k's n_leaves leaves. */
struct average {
    float *const *dst;
    const float *const *models;
    const float *weights;
    size_t n_models;
    const size_t *n_elements;
    size_t n_leaves;
    size_t tile_length;
};

/* Whether a pass after the first reads what the first would write. */
static bool read_late(const struct average *call, size_t leaf) {
    bool late = false;
    for (size_t k = 1 + pass_length(call->n_models - 1); k < call->n_models; k++) {
        late = late || call->models[k * call->n_leaves + leaf] == call->dst[leaf];
    }
    return late;
}

/* One tile of one leaf. The sum collects in dst, or where that is read late, in `scratch`. */
static void average_tile(const struct average *call, size_t leaf, size_t start, size_t n,
                         float *scratch) {
    add_kernel *const add = learnae_internal_kernels()->add[LEARNAE_CODEC_F32];
    const float *const *models = call->models + leaf;
    const float *base = models[0] + start;
    float base_weight = call->weights[0];
    float *const dst = call->dst[leaf] + start;
    size_t next = 1;
    do {
        struct source sources[MAX_SOURCES] = {{0}};
        const size_t n_sources = pass_length(call->n_models - next);
        for (size_t k = 0; k < n_sources; k++) {
            sources[k].data = (const uint8_t *)(models[(next + k) * call->n_leaves] + start);
            sources[k].weight = call->weights[next + k];
        }
        const bool last = next + n_sources == call->n_models;
        float *out = last || scratch == NULL ? dst : scratch;
        add(out, base, base_weight, sources, n_sources, n);
        base = out;
        base_weight = 1.0f; /* exact */
        next += n_sources;
    } while (next < call->n_models);
}

static size_t n_tiles_of(const struct average *call, size_t leaf) {
    const size_t n = call->n_elements[leaf];
    return n / call->tile_length + (n % call->tile_length != 0);
}

/* Tiles are numbered leaf after leaf, and a thread's ascend: so it finds each by going on from
 * where it was. */
static void average_job(void *context, struct tiles *tiles) {
    const struct average *call = context;
    float scratch[TILE_LENGTH];
    size_t leaf = 0, first = 0; /* the number of the leaf's first tile */
    for (size_t tile; next_tile(tiles, &tile);) {
        for (size_t n; tile - first >= (n = n_tiles_of(call, leaf)); leaf++) {
            first += n;
        }
        const bool late = read_late(call, leaf);
        const size_t part = late ? TILE_LENGTH : call->tile_length;
        const size_t start = (tile - first) * call->tile_length;
        const size_t left = call->n_elements[leaf] - start;
        const size_t end = start + (left < call->tile_length ? left : call->tile_length);
        for (size_t at = start; at < end; at += part) {
            average_tile(call, leaf, at, end - at < part ? end - at : part, late ? scratch : NULL);
        }
    }
}

static learnae_status check_leaves(const struct average *call, learnae_message *message) {
    for (size_t leaf = 0; leaf < call->n_leaves; leaf++) {
        if (call->n_elements[leaf] == 0) {
            continue;
        }
        if (call->dst[leaf] == NULL) {
            return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "dst[%zu] is NULL", leaf);
        }
        for (size_t k = 0; k < call->n_models; k++) {
            const size_t at = k * call->n_leaves + leaf;
            if (call->models[at] == NULL) {
                return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "models[%zu] is NULL",
                                             at);
            }
        }
    }
    return LEARNAE_OK;
}

static learnae_status check_call(const struct average *call, learnae_message *message) {
    if (call->n_models == 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "n_models is 0; an average needs at least one model");
    }
    if (call->weights == NULL ||
        (call->n_leaves > 0 &&
         (call->dst == NULL || call->models == NULL || call->n_elements == NULL))) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "dst, models, weights or n_elements is NULL");
    }
    return check_leaves(call, message);
}

static void average(struct average *call) {
    size_t n_tiles = 0;
    uint64_t n_elements = 0;
    for (size_t leaf = 0; leaf < call->n_leaves; leaf++) {
        n_elements += call->n_elements[leaf];
    }
    call->tile_length = n_elements < LONG_FROM ? TILE_LENGTH : LONG_TILE;
    for (size_t leaf = 0; leaf < call->n_leaves; leaf++) {
        n_tiles += n_tiles_of(call, leaf);
    }
    const uint64_t nbytes = (call->n_models + 1) * sizeof(float) * n_elements;
    learnae_internal_run(average_job, call, n_tiles, nbytes);
}

learnae_status learnae_average_leaves(float *const *dst, const float *const *models,
                                      const float *weights, size_t n_models,
                                      const size_t *n_elements, size_t n_leaves,
                                      learnae_message *message) {
    struct average call = {dst, models, weights, n_models, n_elements, n_leaves, 0};
    const learnae_status status = check_call(&call, message);
    if (status == LEARNAE_OK) {
        average(&call);
    }
    return status;
}

learnae_status learnae_average(float *dst, const float *const *models, const float *weights,
                               size_t n_models, size_t n_elements, learnae_message *message) {
    return learnae_average_leaves(&dst, models, weights, n_models, &n_elements, 1, message);
}

learnae_status learnae_mix(float *params, const float *mean, float rate, size_t n_elements,
                           learnae_message *message) {
    if (!(rate >= 0.0f && rate <= 1.0f)) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "rate is %g; it must lie in [0, 1]", (double)rate);
    }
    if ((params == NULL || mean == NULL) && n_elements > 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "params or mean is NULL");
    }
    const float *const models[2] = {params, mean};
    const float weights[2] = {1.0f - rate, rate};
    return learnae_average(params, models, weights, 2, n_elements, message);
}
