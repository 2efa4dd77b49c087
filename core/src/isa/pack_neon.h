/* Packs of two doubles for pairs.inl.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define PACK 2
#define PACK_ROWS 4

typedef float64x2_t pack;

LEARNAE_INLINE pack pack_load(const double *at) {
    return vld1q_f64(at);
}
LEARNAE_INLINE void pack_store(double *at, pack a) {
    vst1q_f64(at, a);
}
LEARNAE_INLINE pack pack_zero(void) {
    return vdupq_n_f64(0.0);
}
LEARNAE_INLINE pack pack_from(const float *at) {
    return vcvt_f64_f32(vld1_f32(at));
}
LEARNAE_INLINE pack pack_sub(pack a, pack b) {
    return vsubq_f64(a, b);
}
LEARNAE_INLINE pack pack_add_square(pack sum, pack a) {
    return vfmaq_f64(sum, a, a);
}

LEARNAE_INLINE void pack_add_four(double *sums, pack lanes[4][4]) {
    UNROLLED
    for (size_t c = 0; c < 4; c++) {
        const pack even = vaddq_f64(lanes[c][0], lanes[c][2]); /* (0+4), (1+5) */
        const pack odd = vaddq_f64(lanes[c][1], lanes[c][3]);  /* (2+6), (3+7) */
        sums[c] += vaddvq_f64(vaddq_f64(even, odd));
    }
}
