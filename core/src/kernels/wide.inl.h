/* Weighted sum in vectors of sixteen, of codecs whose products are looked up: sign and ternary, as
 * in lookup.inl.h. avx512.c includes this once per codec, with
 *   CODEC       sign, say
 *   N_BITS      of a code
 * and, from the same file, factors_CODEC(f), what sixteen codes' products with f are made from, and
 * product_CODEC(factors, codes, half), the products of the first sixteen codes or the next. ISA is
 * not the row's name here, so that the row's own kernels can take what is left at a block's end:
 * NARROW names them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define GROUP LEARNAE_SIGN_GROUP

/* n_sources is a constant where this is inlined, as in add.inl.h. */
LEARNAE_INLINE void KERNEL(JOIN(groups_, CODEC))(float *dst, const float *base, float base_weight,
                                                 const struct source *sources,
                                                 const size_t n_sources, size_t n) {
    const uint8_t *data[MAX_SOURCES] = {NULL}, *scales[MAX_SOURCES] = {NULL};
    float weight[MAX_SOURCES] = {0};
    const __m512 w = _mm512_set1_ps(base_weight);
    UNROLLED
    for (size_t k = 0; k < n_sources; k++) {
        data[k] = sources[k].data;
        scales[k] = sources[k].scales;
        weight[k] = sources[k].weight;
    }
    size_t i = 0;
    while (i + GROUP <= n) {
        __m512 factors[MAX_SOURCES];
        UNROLLED
        for (size_t k = 0; k < n_sources; k++) {
            const float scale = scalar_from_f32(scales[k] + i / GROUP * 4);
            factors[k] = JOIN(factors_, CODEC)(weight[k] * scale);
        }
        for (const size_t end = i + GROUP; i < end; i += 32) {
            const size_t at = i * N_BITS / 8;
            UNROLLED
            for (size_t k = 0; k < n_sources; k++) {
                if (at % 64 < 4 * N_BITS) {
                    prefetch(data[k] + at, SOURCE_AHEAD);
                }
            }
            UNROLLED
            for (size_t half = 0; half < 2; half++) {
                const size_t j = i + 16 * half;
                prefetch(base + j, BASE_AHEAD);
                __m512 sum = _mm512_mul_ps(w, _mm512_loadu_ps(base + j));
                UNROLLED
                for (size_t k = 0; k < n_sources; k++) {
                    const __m512 product = JOIN(product_, CODEC)(factors[k], data[k] + at, half);
                    sum = _mm512_add_ps(sum, product);
                }
                _mm512_storeu_ps(dst + j, wide_canonical(sum));
            }
        }
    }
    if (i < n) {
        struct source left[MAX_SOURCES] = {{0}};
        for (size_t k = 0; k < n_sources; k++) {
            left[k] = sources[k];
            left[k].data += i * N_BITS / 8;
            left[k].scales += i / GROUP * 4;
        }
        NARROW(JOIN(add_, CODEC))(dst + i, base + i, base_weight, left, n_sources, n - i);
    }
}

#include "counts.inl.h"

#undef GROUP
