/* Sum of codecs with at most four numbers to multiply a weight with, sign and ternary: the products
 * are looked up, so that nothing is unpacked, converted or multiplied. On Zen 4 with AVX2, eight
 * payloads of 10^5 elements are added in 43 us (sign) and 47 us (ternary) so; unpacked first and
 * added as i8 they take 52 and 74. What looks up among sixteen floats has tables.inl.h, which takes
 * less. With one bit a code the second bit looked at is the next element's: the table repeats.
 * Expects what packed.inl.h does, and the lookup verbs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define N_A_WORD (32 / N_BITS)
#define NUMBER(i) ((float)(int8_t)JOIN(scalar_code_, CODEC)(every_code, i))
#define TABLE(f)                                                                                   \
    vec_table((f) * NUMBER(0), (f) * NUMBER(1), (f) * NUMBER(2 % (1 << N_BITS)),                   \
              (f) * NUMBER(3 % (1 << N_BITS)))
#define SCALAR_NUMBER(packed, i) ((float)(int8_t)JOIN(scalar_code_, CODEC)(packed, i))

/* n_sources is a constant where this is inlined, as in add.inl.h. The sources are added up first,
 * in pairs, pairs of these, and both halves, because with the tables of tables.inl.h that takes
 * fewer additions than there are sources. */
LEARNAE_INLINE void KERNEL(JOIN(sum_, CODEC))(float *dst, const float *base, float base_weight,
                                              const uint8_t *const data[MAX_SOURCES],
                                              const float weight[MAX_SOURCES],
                                              const size_t n_sources, size_t n) {
    static const uint8_t every_code[1] = {N_BITS == 1 ? 0x2 : 0xe4}; /* 0, 1 ... from below */
    const uint8_t *at[MAX_SOURCES];
    table products[MAX_SOURCES];
    const vec w = vec_set(base_weight);
    UNROLLED
    for (size_t k = 0; k < MAX_SOURCES; k++) {
        const float factor = weight[k];
        at[k] = data[k];
        products[k] = TABLE(factor);
    }
    size_t i = 0;
#define ONE(k) vec_lookup(products[k], at[k] + i * N_BITS / 8, s)
#define TWO(k) (n_sources > (k) + 1 ? vec_add(ONE(k), ONE((k) + 1)) : ONE(k))
#define FOUR(k) (n_sources > (k) + 2 ? vec_add(TWO(k), TWO((k) + 2)) : TWO(k))
#define EIGHT (n_sources > 4 ? vec_add(FOUR(0), FOUR(4)) : FOUR(0))
    for (; i + N_A_WORD <= n; i += N_A_WORD) {
        steps s = steps_first(N_BITS);
        for (size_t j = i; j < i + N_A_WORD; j += LANES, s = steps_next(s, N_BITS)) {
            const vec own = vec_mul(w, vec_load(base + j));
            vec_store(dst + j, vec_canonical(n_sources > 0 ? vec_add(own, EIGHT) : own));
        }
    }
#undef ONE
#undef TWO
#undef FOUR
#undef EIGHT
    for (; i < n; i++) {
        float product[MAX_SOURCES] = {0};
        for (size_t k = 0; k < n_sources; k++) {
            product[k] = weight[k] * SCALAR_NUMBER(data[k], i);
        }
        for (size_t by = 1; by < n_sources; by *= 2) {
            for (size_t k = 0; k + by < n_sources; k += 2 * by) {
                product[k] = product[k] + product[k + by];
            }
        }
        const float own = base_weight * base[i];
        dst[i] = scalar_canonical(n_sources > 0 ? own + product[0] : own);
    }
}

LEARNAE_INLINE void KERNEL(JOIN(groups_, CODEC))(float *dst, const float *base, float base_weight,
                                                 const struct source *sources,
                                                 const size_t n_sources, size_t n) {
    for (size_t first = 0; first < n; first += GROUP) {
        const uint8_t *data[MAX_SOURCES] = {NULL};
        float weight[MAX_SOURCES] = {0};
        for (size_t k = 0; k < n_sources; k++) {
            const float scale = scalar_from_f32(sources[k].scales + first / GROUP * 4);
            data[k] = sources[k].data + first * N_BITS / 8;
            weight[k] = sources[k].weight * scale;
        }
        KERNEL(JOIN(sum_, CODEC))
        (dst + first, base + first, base_weight, data, weight, n_sources,
         n - first < GROUP ? n - first : GROUP);
    }
}

#include "counts.inl.h"

#undef N_A_WORD
#undef NUMBER
#undef SCALAR_NUMBER
#undef TABLE
