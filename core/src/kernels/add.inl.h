/* Weighted sum over models of codecs without scales. An ISA file includes this once per codec, with
 *   CODEC       bf16, say
 *   SIZE        bytes an element
 * and, from the ISA, LANES, the verbs vec_*, and KERNEL(), which appends the ISA's name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define FROM JOIN(vec_from_, CODEC)
#define SCALAR_FROM JOIN(scalar_from_, CODEC)

/* Two vectors of each stream in a turn: with one thread the mean of eight f32 models takes 30 %
 * less time out of the caches, and 20 % less from memory, than with one vector and passes of four
 * (Zen 4). With four vectors the compiler runs out of registers. */
#define ADD_STEP (LANES > 1 ? 2 * LANES : 1)

/* n_sources and streamed are constants where this is inlined: no branch of them remains. The
 * pointers are taken out of the array because a store to dst might change it, for all the compiler
 * knows. */
LEARNAE_INLINE void KERNEL(JOIN(sum_, CODEC))(float *dst, const float *base, float base_weight,
                                              const uint8_t *const data[MAX_SOURCES],
                                              const float weight[MAX_SOURCES],
                                              const size_t n_sources, const bool streamed,
                                              size_t n) {
    const size_t source_ahead = streamed ? STREAMED_SOURCE_AHEAD : SOURCE_AHEAD;
    const uint8_t *at[MAX_SOURCES];
    vec factor[MAX_SOURCES];
    const vec base_factor = vec_set(base_weight);
    UNROLLED
    for (size_t k = 0; k < MAX_SOURCES; k++) {
        at[k] = data[k];
        factor[k] = vec_set(weight[k]);
    }
    size_t i = 0;
#define ADD(k)                                                                                     \
    do {                                                                                           \
        if (n_sources > (k)) {                                                                     \
            first = vec_add(first, vec_mul(factor[k], FROM(at[k] + i * SIZE)));                    \
        }                                                                                          \
        if (n_sources > (k) && LANES > 1) {                                                        \
            second = vec_add(second, vec_mul(factor[k], FROM(at[k] + (i + LANES) * SIZE)));        \
        }                                                                                          \
    } while (0)
#define AHEAD(k)                                                                                   \
    do {                                                                                           \
        if (n_sources > (k)) {                                                                     \
            prefetch(at[k] + i * SIZE, source_ahead);                                              \
        }                                                                                          \
        if (n_sources > (k) && streamed) {                                                         \
            LEARNAE_PREFETCH(at[k] + i * SIZE, SOURCE_FAR_AHEAD);                                  \
        }                                                                                          \
    } while (0)
    INDEPENDENT
    for (; i + ADD_STEP <= n; i += ADD_STEP) {
        if (LANES > 1 && SIZE < 4) {
            prefetch(base + i, BASE_AHEAD);
        }
        if (streamed) {
            LEARNAE_PREFETCH(base + i, BASE_FAR_AHEAD);
        }
        if (LANES > 1 && SIZE < 4 && i % (64 / SIZE) == 0) {
            AHEAD(0);
            AHEAD(1);
            AHEAD(2);
            AHEAD(3);
            AHEAD(4);
            AHEAD(5);
            AHEAD(6);
            AHEAD(7);
        }
        vec first = vec_mul(base_factor, vec_load(base + i));
        vec second = first;
        if (LANES > 1) {
            second = vec_mul(base_factor, vec_load(base + i + LANES));
        }
        ADD(0);
        ADD(1);
        ADD(2);
        ADD(3);
        ADD(4);
        ADD(5);
        ADD(6);
        ADD(7);
        vec_store(dst + i, vec_canonical(first));
        if (LANES > 1) {
            vec_store(dst + i + LANES, vec_canonical(second));
        }
    }
#undef ADD
#undef AHEAD
    for (; LANES > 1 && i < n; i++) {
        float sum = base_weight * base[i];
        for (size_t k = 0; k < n_sources; k++) {
            sum = sum + weight[k] * SCALAR_FROM(data[k] + i * SIZE);
        }
        dst[i] = scalar_canonical(sum);
    }
}

LEARNAE_INLINE void KERNEL(JOIN(groups_, CODEC))(float *dst, const float *base, float base_weight,
                                                 const struct source *sources,
                                                 const size_t n_sources, size_t n) {
    const uint8_t *data[MAX_SOURCES] = {NULL};
    float weight[MAX_SOURCES] = {0};
    UNROLLED
    for (size_t k = 0; k < n_sources; k++) {
        data[k] = sources[k].data;
        weight[k] = sources[k].weight;
    }
    if (LANES > 1 && SIZE == 2 && n_sources > 0 && sources[0].streamed) {
        KERNEL(JOIN(sum_, CODEC))(dst, base, base_weight, data, weight, n_sources, true, n);
    } else {
        KERNEL(JOIN(sum_, CODEC))(dst, base, base_weight, data, weight, n_sources, false, n);
    }
}

#include "counts.inl.h"

#undef ADD_STEP
#undef FROM
#undef SCALAR_FROM
