/* Packs of four doubles for pairs.inl.h. The comments are those of kernels.inl.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define PACK 4
#define PACK_ROWS                                                                                  \
    2 /* 2 x 4 sums, four columns, a row and a difference: of sixteen registers fourteen */

typedef __m256d pack;

/* The empty statement keeps it in a register: compilers take the value from memory again in each
 * operation, and then loads, two a cycle at most, limit the loop. */
LEARNAE_INLINE pack pack_load(const double *at) {
    pack result = _mm256_loadu_pd(at);
    __asm__("" : "+x"(result));
    return result;
}

LEARNAE_INLINE void pack_store(double *at, pack a) {
    _mm256_storeu_pd(at, a);
}
LEARNAE_INLINE pack pack_zero(void) {
    return _mm256_setzero_pd();
}
LEARNAE_INLINE pack pack_from(const float *at) {
    return _mm256_cvtps_pd(_mm_loadu_ps(at));
}
LEARNAE_INLINE pack pack_sub(pack a, pack b) {
    return _mm256_sub_pd(a, b);
}
LEARNAE_INLINE pack pack_add_square(pack sum, pack a) {
    return _mm256_fmadd_pd(a, a, sum);
}

LEARNAE_INLINE void pack_add_four(double *sums, pack lanes[4][2]) {
    __m256d half[4];
    UNROLLED
    for (size_t c = 0; c < 4; c++) {
        half[c] = _mm256_add_pd(lanes[c][0], lanes[c][1]);
    }
    add_halves(sums, half);
}
