/* Weighted sum of sign and ternary, for a row that can look up one of sixteen floats: with four
 * sources of sign, or two of ternary, that is their sum. Products, sums and their order are those
 * of lookup.inl.h. A row includes this once per codec, after joined.inl.h, with
 *   CODEC, N_BITS, GROUP   as packed.inl.h has them
 *   WIDTH                  floats in a vector
 *   VEC(name)              a verb for this width: load store set mul add canonical are as vec_load
 *                          and so on; floats is the type; lookup(parts, joined, shifts) looks up
 *                          with the next WIDTH indices, shifted right by shifts_CODEC()
 *
 * A table holds for 256 elements, while to make it and to join the codes takes as long as the sums
 * of about 200: one thread of a Zen 4 adds seven payloads of 1e5 elements with AVX2 in 0.55 (sign)
 * and 0.95 (ternary) of the time that one look-up for each source takes, and with AVX-512 in 0.53
 * and 0.70 of that with masks and one look-up each.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define N_JOINED (4 / N_BITS) /* sources in a table */
#define N_TABLES ((n_sources + N_JOINED - 1) / N_JOINED)
#define MAX_TABLES (MAX_SOURCES / 2) /* for either codec */
#define N_PARTS (16 / WIDTH)         /* vectors in a table */

/* For the sources from `first` on. n_sources is a constant where this is inlined, as in add.inl.h:
 * `n`, too. */
LEARNAE_INLINE void KERNEL(JOIN(table_, CODEC))(VEC(floats) table[N_PARTS],
                                                const uint8_t *const *scales, const float *weight,
                                                const size_t n) {
    UNROLLED
    for (size_t p = 0; p < N_PARTS; p++) {
        VEC(floats) product[N_JOINED];
        UNROLLED
        for (size_t k = 0; k < n; k++) {
            const VEC(floats) scale = VEC(set)(scalar_from_f32(scales[k]));
            const VEC(floats) number = VEC(load)(JOIN(numbers_, CODEC)[k] + p * WIDTH);
            product[k] = VEC(mul)(VEC(mul)(VEC(set)(weight[k]), scale), number);
        }
        UNROLLED
        for (size_t k = 0; k + 1 < n; k += 2) {
            product[k] = VEC(add)(product[k], product[k + 1]);
        }
        table[p] = n > 2 ? VEC(add)(product[0], product[2 % N_JOINED]) : product[0];
    }
}

LEARNAE_INLINE void KERNEL(JOIN(group_, CODEC))(float *dst, const float *base, float base_weight,
                                                const uint8_t *const data[MAX_SOURCES],
                                                const uint8_t *const scales[MAX_SOURCES],
                                                const float weight[MAX_SOURCES],
                                                const size_t n_sources) {
    uint8_t joined[MAX_TABLES][GROUP / 2];
    VEC(floats) table[MAX_TABLES][N_PARTS];
    UNROLLED
    for (size_t t = 0; t < N_TABLES; t++) {
        const size_t first = t * N_JOINED, left = n_sources - first;
        const size_t n = left < N_JOINED ? left : N_JOINED;
        JOIN(join_, CODEC)(joined[t], data + first, n);
        KERNEL(JOIN(table_, CODEC))(table[t], scales + first, weight + first, n);
    }
    const VEC(shifts) shifts = JOIN(VEC(shifts_), CODEC)();
    const VEC(floats) w = VEC(set)(base_weight);
#define SUM(t) VEC(lookup)(table[t], joined[t] + i / 2, shifts)
    for (size_t i = 0; i < GROUP; i += WIDTH) {
        prefetch_sum(base + i);
        VEC(floats) sum = VEC(mul)(w, VEC(load)(base + i));
        if (N_TABLES > 0) {
            VEC(floats) others = SUM(0);
            others = N_TABLES > 1 ? VEC(add)(others, SUM(1)) : others;
            if (N_TABLES > 2) {
                const VEC(floats) more = SUM(2);
                others = VEC(add)(others, N_TABLES > 3 ? VEC(add)(more, SUM(3)) : more);
            }
            sum = VEC(add)(sum, others);
        }
        VEC(store)(dst + i, VEC(canonical)(sum));
    }
#undef SUM
}

LEARNAE_INLINE void KERNEL(JOIN(groups_, CODEC))(float *dst, const float *base, float base_weight,
                                                 const struct source *sources,
                                                 const size_t n_sources, size_t n) {
    const uint8_t *data[MAX_SOURCES] = {NULL}, *scales[MAX_SOURCES] = {NULL};
    float weight[MAX_SOURCES] = {0};
    size_t i = 0;
    UNROLLED
    for (size_t k = 0; k < n_sources; k++) {
        weight[k] = sources[k].weight;
    }
    for (; i + GROUP <= n; i += GROUP) {
        UNROLLED
        for (size_t k = 0; k < n_sources; k++) {
            data[k] = sources[k].data + i * N_BITS / 8;
            scales[k] = sources[k].scales + i / GROUP * 4;
            if (i / GROUP % (2 / N_BITS) == 0) { /* each line once */
                prefetch_codes(data[k]);
            }
        }
        KERNEL(JOIN(group_, CODEC))(dst + i, base + i, base_weight, data, scales, weight,
                                    n_sources);
    }
    if (i < n) { /* fill up the last group */
        uint8_t codes[MAX_SOURCES][GROUP * N_BITS / 8] = {{0}};
        float sums[GROUP] = {0};
        UNROLLED
        for (size_t k = 0; k < n_sources; k++) {
            memcpy(codes[k], sources[k].data + i * N_BITS / 8, ((n - i) * N_BITS + 7) / 8);
            data[k] = codes[k];
            scales[k] = sources[k].scales + i / GROUP * 4;
        }
        memcpy(sums, base + i, (n - i) * sizeof *sums);
        KERNEL(JOIN(group_, CODEC))(sums, sums, base_weight, data, scales, weight, n_sources);
        memcpy(dst + i, sums, (n - i) * sizeof *sums);
    }
}

#include "counts.inl.h"

#undef N_JOINED
#undef N_TABLES
#undef MAX_TABLES
#undef N_PARTS
