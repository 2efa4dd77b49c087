/* Weighted sum over encoded models whose codes are int8, or stand for one: i8 and i4. An ISA file
 * includes this once per codec, with
 *   CODEC       i8, say
 *   N_BITS      of a code: 8, or fewer where packed.inl.h unpacks them
 *   GROUP       elements that share a scale
 * and, from the ISA, the verbs of integers.
 *
 * The sources of a pass are added as integers: 15 bits of each one's factor, relative to the
 * largest of the group, times its code. Two products and their sum are then one instruction
 * (pmaddwd), or one each (smlal), where to convert every code to float, to multiply and to add
 * takes three. The sum is exact: 8 sources * 16383 * 128 is below 2^24, so that it is a float, too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define STEP (LANES > 1 ? 2 * LANES : 1)

/* n_sources is a constant where this is inlined, as in add.inl.h. `group` is that of the mixture.
 * Behind a code of less than 8 bits nothing is to be fetched: it has been unpacked. */
LEARNAE_INLINE void KERNEL(JOIN(sum_, CODEC))(float *dst, const float *base, float base_weight,
                                              const uint8_t *const data[MAX_SOURCES],
                                              const struct mixture *mixture, size_t group,
                                              const size_t n_sources, size_t n) {
    const uint8_t *at[MAX_SOURCES];
    pair factors[MAX_SOURCES / 2];
    const vec w = vec_set(base_weight), unit = vec_set(mixture->unit[group]);
    UNROLLED
    for (size_t k = 0; k < MAX_SOURCES; k++) {
        at[k] = data[k];
        factors[k / 2] = pair_set(mixture->pairs[k / 2][group]);
    }
    size_t i = 0;
#define ADD(k)                                                                                     \
    do {                                                                                           \
        if (n_sources > (k) + 1) {                                                                 \
            sum = integers_add_two(sum, factors[(k) / 2], at[k] + i, at[(k) + 1] + i);             \
        } else if (n_sources > (k)) {                                                              \
            sum = integers_add_one(sum, factors[(k) / 2], at[k] + i);                              \
        }                                                                                          \
    } while (0)
#define AHEAD(k)                                                                                   \
    do {                                                                                           \
        if (n_sources > (k)) {                                                                     \
            prefetch_codes(at[k] + i);                                                             \
        }                                                                                          \
    } while (0)
    INDEPENDENT
    for (; i + STEP <= n; i += STEP) {
        if (LANES > 1) {
            prefetch_sum(base + i);
        }
        if (LANES > 1 && N_BITS == 8 && i % 64 == 0) {
            AHEAD(0);
            AHEAD(1);
            AHEAD(2);
            AHEAD(3);
            AHEAD(4);
            AHEAD(5);
            AHEAD(6);
            AHEAD(7);
        }
        integers sum = integers_zero();
        ADD(0);
        ADD(2);
        ADD(4);
        ADD(6);
        const vec first =
            vec_add(vec_mul(w, vec_load(base + i)), vec_mul(unit, vec_from_first(sum)));
        if (LANES > 1) {
            const vec second = vec_add(vec_mul(w, vec_load(base + i + LANES)),
                                       vec_mul(unit, vec_from_second(sum)));
            vec_store(dst + i + LANES, vec_canonical(second));
        }
        vec_store(dst + i, vec_canonical(first));
    }
#undef ADD
#undef AHEAD
    for (; LANES > 1 && i < n; i++) {
        int32_t sum = 0;
        for (size_t k = 0; k < n_sources; k++) {
            const uint32_t both = mixture->pairs[k / 2][group];
            sum += scalar_factor(both, k % 2) * (int8_t)data[k][i];
        }
        dst[i] = scalar_canonical(base_weight * base[i] + mixture->unit[group] * (float)sum);
    }
}

LEARNAE_INLINE void KERNEL(JOIN(groups_, CODEC))(float *dst, const float *base, float base_weight,
                                                 const struct source *sources,
                                                 const size_t n_sources, size_t n) {
#if N_BITS < 8
    uint8_t codes[MAX_SOURCES][N_MIXED * GROUP];
#endif
    for (size_t start = 0, length; start < n; start += length) {
        const uint8_t *data[MAX_SOURCES] = {NULL};
        struct mixture mixture;
        length = n - start < N_MIXED * GROUP ? n - start : N_MIXED * GROUP;
        KERNEL(mix)(&mixture, sources, n_sources, start / GROUP, (length + GROUP - 1) / GROUP);
        UNROLLED
        for (size_t k = 0; k < n_sources; k++) {
            data[k] = sources[k].data + start * N_BITS / 8;
#if N_BITS < 8
            KERNEL(JOIN(unpack_, CODEC))(codes[k], data[k], length);
            data[k] = codes[k];
#endif
        }
        for (size_t first = 0; first < length; first += GROUP) {
            const uint8_t *part[MAX_SOURCES] = {NULL};
            UNROLLED
            for (size_t k = 0; k < n_sources; k++) {
                part[k] = data[k] + first;
            }
            KERNEL(JOIN(sum_, CODEC))
            (dst + start + first, base + start + first, base_weight, part, &mixture, first / GROUP,
             n_sources, length - first < GROUP ? length - first : GROUP);
        }
    }
}

#include "counts.inl.h"

#undef STEP
