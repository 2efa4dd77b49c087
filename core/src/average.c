/* The weighted mean of float32 models, tile by tile.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "threads.h"

/* Elements that a thread takes at a time. */
#ifndef GRAIN
#define GRAIN TILE_LENGTH
#endif

/* All leaves of all models. Row k of `models` holds model k's n_leaves leaves. */
struct average {
    float *const *dst;
    const float *const *models;
    const float *weights;
    size_t n_models;
    const size_t *n_elements;
    size_t n_leaves;
};

/* One tile of one leaf. All passes but the last collect in `scratch`, because dst may be a model
 * that only a later pass reads. */
static void average_tile(const struct kernel_table *kernels, const struct average *call,
                         size_t leaf, size_t start, size_t n, float *scratch) {
    const float *const *models = call->models + leaf;
    const float *base = models[0] + start;
    float base_weight = call->weights[0];
    size_t next = 1;
    do {
        struct source sources[MAX_SOURCES] = {{0}};
        size_t n_sources = 0;
        while (n_sources < MAX_SOURCES && next < call->n_models) {
            sources[n_sources].data = (const uint8_t *)(models[next * call->n_leaves] + start);
            sources[n_sources].weight = call->weights[next];
            n_sources++;
            next++;
        }
        float *out = next < call->n_models ? scratch : call->dst[leaf] + start;
        kernels->add[LEARNAE_CODEC_F32](out, base, base_weight, sources, n_sources, n);
        base = scratch;
        base_weight = 1.0f; /* exact */
    } while (next < call->n_models);
}

static size_t n_grains(size_t n) {
    return n / GRAIN + (n % GRAIN != 0);
}

/* Tiles are numbered leaf after leaf, and a thread's ascend: so it finds each by going on from
 * where it was. */
static void average_job(void *context, struct tiles *tiles) {
    const struct average *call = context;
    const struct kernel_table *kernels = learnae_internal_kernels();
    float scratch[TILE_LENGTH];
    size_t leaf = 0, first = 0; /* the number of the leaf's first tile */
    for (size_t tile; next_tile(tiles, &tile);) {
        while (tile - first >= n_grains(call->n_elements[leaf])) {
            first += n_grains(call->n_elements[leaf]);
            leaf++;
        }
        const size_t start = (tile - first) * GRAIN;
        const size_t left = call->n_elements[leaf] - start;
        const size_t end = start + (left < GRAIN ? left : GRAIN);
        for (size_t at = start; at < end; at += TILE_LENGTH) {
            average_tile(kernels, call, leaf, at, end - at < TILE_LENGTH ? end - at : TILE_LENGTH,
                         scratch);
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
        n_tiles += n_grains(call->n_elements[leaf]);
        n_elements += call->n_elements[leaf];
    }
    learnae_internal_run(average_job, call, n_tiles,
                         (call->n_models + 1) * sizeof(float) * n_elements);
}

learnae_status learnae_average_leaves(float *const *dst, const float *const *models,
                                      const float *weights, size_t n_models,
                                      const size_t *n_elements, size_t n_leaves,
                                      learnae_message *message) {
    struct average call = {dst, models, weights, n_models, n_elements, n_leaves};
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
