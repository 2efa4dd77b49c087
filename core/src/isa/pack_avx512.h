/* Packs of eight doubles for pairs.inl.h.
 *
 * Where 512 bits take as long as twice 256 (Zen 4), fewer instructions and more registers are left:
 * 0.8 of the time of AVX2's packs for 5, 9 and 16 models in cache.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define PACK 8
#define PACK_ROWS 4

typedef __m512d pack;

/* In a register: see pack_avx2.h. */
LEARNAE_INLINE pack pack_load(const double *at) {
    pack result = _mm512_loadu_pd(at);
    __asm__("" : "+v"(result));
    return result;
}

LEARNAE_INLINE void pack_store(double *at, pack a) {
    _mm512_storeu_pd(at, a);
}
LEARNAE_INLINE pack pack_zero(void) {
    return _mm512_setzero_pd();
}
LEARNAE_INLINE pack pack_from(const float *at) {
    return _mm512_cvtps_pd(_mm256_loadu_ps(at));
}
LEARNAE_INLINE pack pack_sub(pack a, pack b) {
    return _mm512_sub_pd(a, b);
}
LEARNAE_INLINE pack pack_add_square(pack sum, pack a) {
    return _mm512_fmadd_pd(a, a, sum);
}

LEARNAE_INLINE void pack_add_four(double *sums, pack lanes[4][1]) {
    __m256d half[4];
    UNROLLED
    for (size_t c = 0; c < 4; c++) {
        half[c] = _mm256_add_pd(_mm512_castpd512_pd256(lanes[c][0]),
                                _mm512_extractf64x4_pd(lanes[c][0], 1));
    }
    add_halves(sums, half);
}
