/* Squared distances between all pairs of models, over one run of elements. Expects what
 * kernels.inl.h lists of packs.
 *
 * Differences are taken directly: a Gram matrix would save the subtractions, but where two models
 * are close to each other, and these are the pairs that matter, it loses the digits that they have
 * in common. Nor would it be faster on a CPU that adds beside multiplying (Zen), where a
 * subtraction and a fused product and sum take the time of the latter. As product and sum, each
 * rounded, they take twice that time.
 *
 * Models are widened to float64 once, when they are compared in strips of four with each other, and
 * stay so in the first-level cache for the comparison of this strip with those before, PACK_ROWS x
 * 4 pairs at a time. Of more than BAND models the later ones are widened once a band.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#define GROUPS (8 / PACK) /* packs in a row of eight: what differs by eight elements shares one */
#define STRIP 4
enum { KERNEL(BAND) = 16 };

/* Without a gap, rows would share a few sets of the cache. */
typedef double KERNEL(row)[PAIR_RUN + 8];

/* While models are compared, lines of later runs are asked for, one in each step: else the memory
 * would stand still meanwhile. One block of pairs has time for the runs of two models. */
#define AHEAD_NBYTES (2 * PAIR_RUN * sizeof(float))
#define HALF (PAIR_RUN / 2)

struct KERNEL(ahead) {
    const float *const *models;
    size_t next, n;
};

/* Where all have been asked for, the first once more, which costs nothing. */
LEARNAE_INLINE const float *KERNEL(next_run)(struct KERNEL(ahead) * ahead) {
    return ahead->models[ahead->next < ahead->n ? ahead->next++ : 0];
}

/* Step i of HALF / 8: the i-th line of 64 bytes. */
LEARNAE_INLINE void KERNEL(ask)(const float *run, size_t i) {
    LEARNAE_PREFETCH(run + 2 * i, AHEAD_NBYTES);
}

/* sums[0..n) += the lanes of each, as the header adds them. */
LEARNAE_INLINE void KERNEL(add_lanes)(double *sums, pack lanes[STRIP][GROUPS], const size_t n) {
    if (n == STRIP) {
        pack_add_four(sums, lanes);
        return;
    }
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        double lane[8];
        for (size_t g = 0; g < GROUPS; g++) {
            pack_store(lane + g * PACK, lanes[c][g]);
        }
        sums[c] += sum_of_lanes(lane);
    }
}

LEARNAE_INLINE void KERNEL(zero)(pack lanes[STRIP][STRIP][GROUPS], const size_t g, const size_t n) {
    UNROLLED
    for (size_t r = 0; r < STRIP; r++) {
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            lanes[r][c][g] = pack_zero();
        }
    }
}

/* A strip of n models: widen it to `columns`, and compare each with those after it. */
LEARNAE_INLINE void KERNEL(within)(double *sums, const size_t n_models, KERNEL(row) * columns,
                                   const float *const *models, struct KERNEL(ahead) * ahead,
                                   const size_t n) {
    pack lanes[STRIP][STRIP][GROUPS];
    const float *at[STRIP]; /* so that no store can change them */
    memcpy(at, models, n * sizeof *at);
    UNROLLED
    for (size_t g = 0; g < GROUPS; g++) {
        KERNEL(zero)(lanes, g, n);
        for (size_t start = 0; start < PAIR_RUN; start += HALF) {
            const float *run = g == 0 ? KERNEL(next_run)(ahead) : NULL;
            for (size_t i = start + g * PACK; i < start + HALF; i += 8) {
                pack value[STRIP];
                if (g == 0) {
                    KERNEL(ask)(run, i - start);
                }
                UNROLLED
                for (size_t c = 0; c < n; c++) {
                    value[c] = pack_from(at[c] + i);
                    pack_store(columns[c] + i, value[c]);
                    UNROLLED
                    for (size_t r = 0; r < c; r++) {
                        const pack d = pack_sub(value[r], value[c]);
                        lanes[r][c][g] = pack_add_square(lanes[r][c][g], d);
                    }
                }
            }
        }
    }
    UNROLLED
    for (size_t r = 0; r + 1 < n; r++) {
        KERNEL(add_lanes)(sums + r * n_models + r + 1, lanes[r] + r + 1, n - r - 1);
    }
}

/* PACK_ROWS models with each of n others, all of them widened. */
LEARNAE_INLINE void KERNEL(between)(double *sums, const size_t n_models, KERNEL(row) * rows,
                                    KERNEL(row) * columns, struct KERNEL(ahead) * ahead,
                                    const size_t n) {
    pack lanes[STRIP][STRIP][GROUPS];
    UNROLLED
    for (size_t g = 0; g < GROUPS; g++) {
        KERNEL(zero)(lanes, g, n);
        for (size_t start = 0; start < PAIR_RUN; start += HALF) {
            const float *run = g == 0 ? KERNEL(next_run)(ahead) : NULL;
            for (size_t i = start + g * PACK; i < start + HALF; i += 8) {
                pack value[STRIP];
                if (g == 0) {
                    KERNEL(ask)(run, i - start);
                }
                UNROLLED
                for (size_t c = 0; c < n; c++) {
                    value[c] = pack_load(columns[c] + i);
                }
                UNROLLED
                for (size_t r = 0; r < PACK_ROWS; r++) {
                    const pack row = pack_load(rows[r] + i);
                    UNROLLED
                    for (size_t c = 0; c < n; c++) {
                        const pack d = pack_sub(row, value[c]);
                        lanes[r][c][g] = pack_add_square(lanes[r][c][g], d);
                    }
                }
            }
        }
    }
    UNROLLED
    for (size_t r = 0; r < PACK_ROWS; r++) {
        KERNEL(add_lanes)(sums + r * n_models, lanes[r], n);
    }
}

static void KERNEL(widen)(KERNEL(row) * columns, const float *const *models, size_t n) {
    for (size_t c = 0; c < n; c++) {
        for (size_t i = 0; i < PAIR_RUN; i += PACK) {
            pack_store(columns[c] + i, pack_from(models[c] + i));
        }
    }
}

/* n models, from the one of number `column` on, which are widened and compared with the n_rows of
 * the band before them; those of the band with each other too. */
struct KERNEL(strip) {
    double *sums; /* of the first row's pairs */
    size_t n_models, n_rows, column;
    bool on_band;
    KERNEL(row) * band, *columns;
};

#define STRIP_OF(n)                                                                                \
    static void KERNEL(JOIN(strip_, n))(const struct KERNEL(strip) * strip,                        \
                                        const float *const *models,                                \
                                        struct KERNEL(ahead) * ahead) {                            \
        const size_t n_models = strip->n_models;                                                   \
        double *sums = strip->sums + strip->column;                                                \
        if (strip->on_band) {                                                                      \
            KERNEL(within)                                                                         \
            (sums + strip->n_rows * n_models, n_models, strip->columns, models, ahead, n);         \
        } else {                                                                                   \
            KERNEL(widen)(strip->columns, models, n);                                              \
        }                                                                                          \
        for (size_t r = 0; r < strip->n_rows; r += PACK_ROWS) {                                    \
            KERNEL(between)                                                                        \
            (sums + r * n_models, n_models, strip->band + r, strip->columns, ahead, n);            \
        }                                                                                          \
    }

STRIP_OF(1)
STRIP_OF(2)
STRIP_OF(3)
STRIP_OF(4)

static void (*const KERNEL(strip_of)[])(const struct KERNEL(strip) *, const float *const *,
                                        struct KERNEL(ahead) *) = {
    NULL, KERNEL(strip_1), KERNEL(strip_2), KERNEL(strip_3), KERNEL(strip_4)};

static void KERNEL(pairs)(double *sums, const float *const *models, size_t n_models) {
    _Alignas(64) KERNEL(row) rows[KERNEL(BAND) + STRIP];
    struct KERNEL(ahead) ahead = {models, 0, n_models};
    for (size_t first = 0; first < n_models; first += KERNEL(BAND)) {
        for (size_t column = first; column < n_models; column += STRIP) {
            const size_t before = column - first, left = n_models - column;
            const size_t n_rows = before < KERNEL(BAND) ? before : KERNEL(BAND);
            const struct KERNEL(strip) strip = {.sums = sums + first * n_models,
                                                .n_models = n_models,
                                                .n_rows = n_rows,
                                                .column = column,
                                                .on_band = before < KERNEL(BAND),
                                                .band = rows,
                                                .columns = rows + n_rows};
            KERNEL(strip_of)[left < STRIP ? left : STRIP](&strip, models + column, &ahead);
        }
    }
}

#undef GROUPS
#undef STRIP
#undef STRIP_OF
#undef HALF
#undef AHEAD_NBYTES
