/* Squared distances between all pairs of models, over one run of elements. Expects what
 * kernels.inl.h lists.
 *
 * Differences are taken directly. A Gram matrix would need a third fewer operations, but where two
 * models are close to each other, and these are the pairs that matter, it loses the digits that
 * they have in common.
 *
 * A strip of four models is widened to float64 once, and every later model is widened once a
 * strip: four differences share it in registers. 2 x 4 at once would need more than 16 of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#define PARTS (8 / LANES) /* vectors in a row of eight */
enum { KERNEL(STRIP) = 4 };

struct KERNEL(strip) {
    double value[KERNEL(STRIP)][PAIR_RUN];
};

/* The lanes as the header adds them. */
LEARNAE_INLINE double KERNEL(sum_of_run)(const wide sum[PARTS]) {
    double lane[8];
    for (size_t p = 0; p < PARTS; p++) {
        wide_store(lane + p * LANES, sum[p]);
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* *sums[r] += the distance of row r to `other`, of rows [0, n_rows). */
LEARNAE_INLINE void KERNEL(strip_distances)(double *sums[KERNEL(STRIP)],
                                            const struct KERNEL(strip) * strip, const float *other,
                                            const size_t n_rows) {
    wide sum[KERNEL(STRIP)][PARTS];
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t p = 0; p < PARTS; p++) {
            sum[r][p] = wide_from(vec_set(0.0f));
        }
    }
    for (size_t i = 0; i < PAIR_RUN; i += 8) {
        for (size_t p = 0; p < PARTS; p++) {
            const wide y = wide_from(vec_load(other + i + p * LANES));
            for (size_t r = 0; r < n_rows; r++) {
                const wide d = wide_sub(wide_load(strip->value[r] + i + p * LANES), y);
                sum[r][p] = wide_add(sum[r][p], wide_mul(d, d));
            }
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        *sums[r] += KERNEL(sum_of_run)(sum[r]);
    }
}

static void KERNEL(widen)(double *dst, const float *src) {
    for (size_t i = 0; i < PAIR_RUN; i += LANES) {
        wide_store(dst + i, wide_from(vec_load(src + i)));
    }
}

static void KERNEL(pairs)(double *sums, const float *const *models, size_t n_models) {
    struct KERNEL(strip) strip;
    for (size_t first = 0; first < n_models; first += KERNEL(STRIP)) {
        const size_t left = n_models - first;
        const size_t n_rows = left < KERNEL(STRIP) ? left : KERNEL(STRIP);
        for (size_t r = 0; r < n_rows; r++) {
            KERNEL(widen)(strip.value[r], models[first + r]);
        }
        for (size_t j = first + 1; j < n_models; j++) {
            double *at[KERNEL(STRIP)];
            const size_t n_above = j - first < n_rows ? j - first : n_rows;
            for (size_t r = 0; r < n_above; r++) {
                at[r] = sums + (first + r) * n_models + j;
            }
            switch (n_above) {
            case 1:
                KERNEL(strip_distances)(at, &strip, models[j], 1);
                break;
            case 2:
                KERNEL(strip_distances)(at, &strip, models[j], 2);
                break;
            case 3:
                KERNEL(strip_distances)(at, &strip, models[j], 3);
                break;
            default:
                KERNEL(strip_distances)(at, &strip, models[j], 4);
                break;
            }
        }
    }
}

#undef PARTS
