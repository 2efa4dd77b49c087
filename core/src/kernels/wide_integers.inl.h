/* Weighted sum of i8 and i4 in vectors of sixteen, with the factors and the rounding of
 * integers.inl.h. avx512.c includes this once per codec, with
 *   CODEC       i8, say
 *   N_BITS      of a code
 *   GROUP       elements that share a scale
 * and, from the same file, split_factors(), codes_CODEC(at), and interleave_CODEC(four, codes). ISA
 * is not the row's name here, so that the row's own kernels can take what is left at a block's end:
 * NARROW names them.
 *
 * vpdpbusd adds four products of an unsigned and a signed byte: those of four sources, for each of
 * sixteen elements, once their codes are interleaved. So a factor of 15 bits is cut into two signed
 * bytes, q = 128 * high + low, and codes are taken 128 too large, which their sum is corrected for.
 * Nothing saturates: sums stay below 2^26. For four sources and sixteen elements that takes five
 * instructions, sixteen with AVX2 (and as many again to unpack i4).
 *
 * SPDX-License-Identifier: Apache-2.0
 */

/* Sums of 64 elements, in order. */
LEARNAE_INLINE void KERNEL(JOIN(sum_, CODEC))(__m512i sum[4], const uint8_t *const *data,
                                              const struct split *split, size_t group,
                                              const size_t n_sources, size_t i) {
    __m512i high[4], low[4];
    UNROLLED
    for (size_t m = 0; m < 4; m++) {
        high[m] = _mm512_setzero_si512();
        low[m] = _mm512_set1_epi32(split->start[group]);
    }
    UNROLLED
    for (size_t k = 0; k < n_sources; k += 4) {
        const size_t at = i * N_BITS / 8;
        __m512i code[4];
        UNROLLED
        for (size_t j = 0; j < 4; j++) {
            code[j] =
                k + j < n_sources ? JOIN(codes_, CODEC)(data[k + j] + at) : _mm512_setzero_si512();
        }
        __m512i four[4];
        JOIN(interleave_, CODEC)(four, code);
        const __m512i high_factors = _mm512_set1_epi32((int)split->high[k / 4][group]);
        const __m512i low_factors = _mm512_set1_epi32((int)split->low[k / 4][group]);
        UNROLLED
        for (size_t m = 0; m < 4; m++) {
            high[m] = _mm512_dpbusd_epi32(high[m], four[m], high_factors);
            low[m] = _mm512_dpbusd_epi32(low[m], four[m], low_factors);
        }
    }
    UNROLLED
    for (size_t m = 0; m < 4; m++) {
        sum[m] = _mm512_add_epi32(_mm512_slli_epi32(high[m], 7), low[m]);
    }
}

/* n_sources is a constant where this is inlined, as in add.inl.h. */
LEARNAE_INLINE void KERNEL(JOIN(groups_, CODEC))(float *dst, const float *base, float base_weight,
                                                 const struct source *sources,
                                                 const size_t n_sources, size_t n) {
    const uint8_t *data[MAX_SOURCES] = {NULL};
    const __m512 w = _mm512_set1_ps(base_weight);
    UNROLLED
    for (size_t k = 0; k < n_sources; k++) {
        data[k] = sources[k].data;
    }
    size_t i = 0;
    while (i + GROUP <= n) {
        const size_t n_left = (n - i) / GROUP, n_groups = n_left < N_MIXED ? n_left : N_MIXED;
        struct mixture mixture;
        struct split split;
        NARROW(mix)(&mixture, sources, n_sources, i / GROUP, n_groups);
        split_factors(&split, &mixture, n_sources);
        for (size_t group = 0; group < n_groups; group++) {
            const __m512 unit = _mm512_set1_ps(mixture.unit[group]);
            for (const size_t end = i + GROUP; i < end; i += 64) {
                __m512i sum[4];
                UNROLLED
                for (size_t k = 0; k < n_sources; k++) {
                    prefetch_codes(data[k] + i * N_BITS / 8);
                }
                KERNEL(JOIN(sum_, CODEC))(sum, data, &split, group, n_sources, i);
                UNROLLED
                for (size_t m = 0; m < 4; m++) {
                    const size_t j = i + 16 * m;
                    prefetch_sum(base + j);
                    const __m512 own = _mm512_mul_ps(w, _mm512_loadu_ps(base + j));
                    const __m512 others = _mm512_mul_ps(unit, _mm512_cvtepi32_ps(sum[m]));
                    _mm512_storeu_ps(dst + j, wide_canonical(_mm512_add_ps(own, others)));
                }
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
