/* The weighted mean of float32 models, tile by tile.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

/* One tile. All passes but the last collect in `scratch`, because dst may be a model that only
 * a later pass reads. */
static void average_tile(const struct kernel_table *kernels, float *dst, float *scratch,
                         const float *const *models, const float *weights, size_t n_models,
                         size_t start, size_t n) {
    const float *base = models[0] + start;
    float base_weight = weights[0];
    size_t next = 1;
    do {
        struct source sources[MAX_SOURCES] = {{0}};
        size_t n_sources = 0;
        while (n_sources < MAX_SOURCES && next < n_models) {
            sources[n_sources].data = (const uint8_t *)(models[next] + start);
            sources[n_sources].weight = weights[next];
            n_sources++;
            next++;
        }
        float *out = next < n_models ? scratch : dst + start;
        kernels->add[LEARNAE_CODEC_F32](out, base, base_weight, sources, n_sources, n);
        base = scratch;
        base_weight = 1.0f; /* exact */
    } while (next < n_models);
}

static void average(float *dst, const float *const *models, const float *weights, size_t n_models,
                    size_t n_elements) {
    float scratch[TILE_LENGTH];
    const struct kernel_table *kernels = learnae_internal_kernels();
    for (size_t start = 0; start < n_elements; start += TILE_LENGTH) {
        const size_t left = n_elements - start;
        average_tile(kernels, dst, scratch, models, weights, n_models, start,
                     left < TILE_LENGTH ? left : TILE_LENGTH);
    }
}

learnae_status learnae_average(float *dst, const float *const *models, const float *weights,
                               size_t n_models, size_t n_elements, learnae_message *message) {
    if (n_models == 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "n_models is 0; an average needs at least one model");
    }
    if (models == NULL || weights == NULL || (dst == NULL && n_elements > 0)) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "dst, models or weights is NULL");
    }
    if (n_elements == 0) {
        return LEARNAE_OK;
    }
    for (size_t k = 0; k < n_models; k++) {
        if (models[k] == NULL) {
            return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "models[%zu] is NULL", k);
        }
    }
    average(dst, models, weights, n_models, n_elements);
    return LEARNAE_OK;
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
