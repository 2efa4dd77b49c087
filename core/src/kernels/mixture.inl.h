/* What integers.inl.h multiplies codes with, for a few groups at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

/* The largest factor of a group is so many units: see integers.inl.h for why no more. */
#define N_UNITS 16383.0f

/* Groups whose factors are made at a time: a multiple of LANES. One by one, the divisions would
 * cost groups of 64 elements as much as their sums. */
#define N_MIXED 8

struct mixture {
    float unit[N_MIXED];
    uint32_t pairs[MAX_SOURCES / 2][N_MIXED]; /* int16 factors of two sources, the first below */
};

LEARNAE_INLINE int32_t scalar_factor(uint32_t both, size_t k) {
    return (int16_t)(uint16_t)(both >> 16 * k);
}

/* Factors are rounded by adding 1.5 * 2^23, as in scalar_to_i8(): then the lower bits are those of
 * the integer. Where one is NaN or infinite any integers will do, for the unit is NaN. */
LEARNAE_INLINE void KERNEL(mix)(struct mixture *mixture, const struct source *sources,
                                const size_t n_sources, size_t group, size_t n_groups) {
    float rounded[MAX_SOURCES][N_MIXED] = {{0}};
    const vec tiny = vec_set(0x1p-110f), n_units = vec_set(N_UNITS);
    for (size_t k = 0; k < n_sources; k++) {
        const uint8_t *scales = sources[k].scales + group * 4;
        if (n_groups >= N_MIXED) {
            memcpy(rounded[k], scales, sizeof rounded[k]);
        } else {
            memcpy(rounded[k], scales, n_groups * 4);
        }
    }
    for (size_t g = 0; g < N_MIXED; g += LANES) {
        vec factor[MAX_SOURCES];
        key largest = key_from_vec(vec_set(0.0f));
        UNROLLED
        for (size_t k = 0; k < n_sources; k++) {
            factor[k] = vec_mul(vec_set(sources[k].weight), vec_load(rounded[k] + g));
            largest = key_max(largest, key_from_vec(vec_abs(factor[k])));
        }
        const vec c = vec_from_key(largest);
        const vec inverse = vec_where_above(c, tiny, vec_div(n_units, c));
        const vec unit = vec_where_above(c, tiny, vec_div(c, n_units));
        vec_store(mixture->unit + g, vec_add(unit, vec_sub(c, c)));
        UNROLLED
        for (size_t k = 0; k < n_sources; k++) {
            vec_store(rounded[k] + g, vec_add(vec_mul(factor[k], inverse), vec_set(0x1.8p23f)));
        }
    }
    UNROLLED
    for (size_t k = 0; k < n_sources; k += 2) {
        for (size_t g = 0; g < N_MIXED; g++) {
            const uint32_t low = scalar_bits(rounded[k][g]) & 0xffffu;
            mixture->pairs[k / 2][g] =
                low | (k + 1 < n_sources ? scalar_bits(rounded[k + 1][g]) << 16 : 0);
        }
    }
}
