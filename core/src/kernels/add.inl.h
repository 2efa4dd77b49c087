/* Weighted sum over encoded models. An ISA file includes this once per codec, with
 *   CODEC       bf16, say
 *   SIZE        bytes an element
 *   GROUPED     1 where a scale precedes each group of LEARNAE_I8_GROUP elements
 * and, from the ISA, LANES, the verbs vec_*, and KERNEL(), which appends the ISA's name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define FROM JOIN(vec_from_, CODEC)
#define SCALAR_FROM JOIN(scalar_from_, CODEC)

/* n_sources is a constant where this is inlined: no branch of it remains. The pointers are
 * taken out of the array because a store to dst might change it, for all the compiler knows. */
LEARNAE_INLINE void KERNEL(JOIN(sum_, CODEC))(float *dst, const float *base, float base_weight,
                                              const uint8_t *const data[MAX_SOURCES],
                                              const float weight[MAX_SOURCES],
                                              const size_t n_sources, size_t n) {
    const uint8_t *const d0 = data[0], *const d1 = data[1];
    const uint8_t *const d2 = data[2], *const d3 = data[3];
    const float f0 = weight[0], f1 = weight[1], f2 = weight[2], f3 = weight[3];
    const vec w = vec_set(base_weight);
    const vec w0 = vec_set(f0), w1 = vec_set(f1), w2 = vec_set(f2), w3 = vec_set(f3);
    size_t i = 0;
    INDEPENDENT
    for (; i + LANES <= n; i += LANES) {
        vec sum = vec_mul(w, vec_load(base + i));
        sum = n_sources > 0 ? vec_add(sum, vec_mul(w0, FROM(d0 + i * SIZE))) : sum;
        sum = n_sources > 1 ? vec_add(sum, vec_mul(w1, FROM(d1 + i * SIZE))) : sum;
        sum = n_sources > 2 ? vec_add(sum, vec_mul(w2, FROM(d2 + i * SIZE))) : sum;
        sum = n_sources > 3 ? vec_add(sum, vec_mul(w3, FROM(d3 + i * SIZE))) : sum;
        vec_store(dst + i, vec_canonical(sum));
    }
    for (; LANES > 1 && i < n; i++) {
        float sum = base_weight * base[i];
        sum = n_sources > 0 ? sum + f0 * SCALAR_FROM(d0 + i * SIZE) : sum;
        sum = n_sources > 1 ? sum + f1 * SCALAR_FROM(d1 + i * SIZE) : sum;
        sum = n_sources > 2 ? sum + f2 * SCALAR_FROM(d2 + i * SIZE) : sum;
        sum = n_sources > 3 ? sum + f3 * SCALAR_FROM(d3 + i * SIZE) : sum;
        dst[i] = scalar_canonical(sum);
    }
}

LEARNAE_INLINE void KERNEL(JOIN(groups_, CODEC))(float *dst, const float *base, float base_weight,
                                                 const struct source *sources,
                                                 const size_t n_sources, size_t n) {
    const size_t group = GROUPED ? LEARNAE_I8_GROUP : n;
    for (size_t start = 0, length; start < n; start += length) {
        const uint8_t *data[MAX_SOURCES] = {NULL};
        float weight[MAX_SOURCES] = {0};
        length = n - start < group ? n - start : group;
        for (size_t k = 0; k < n_sources; k++) {
            data[k] = sources[k].data + start * SIZE;
            weight[k] = sources[k].weight;
            if (GROUPED) {
                weight[k] *= scalar_from_f32(sources[k].scales + start / LEARNAE_I8_GROUP * 4);
            }
        }
        KERNEL(JOIN(sum_, CODEC))
        (dst + start, base + start, base_weight, data, weight, n_sources, length);
    }
}

#include "counts.inl.h"

#undef FROM
#undef SCALAR_FROM
