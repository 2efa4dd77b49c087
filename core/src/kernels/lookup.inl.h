/* Sum of codecs with at most four numbers to multiply a weight with: the products are looked up, so
 * that nothing is unpacked, converted or multiplied. On Zen 4 with AVX2, eight payloads of 10^5
 * elements are added in 43 us (sign) and 47 us (ternary); unpacked first and added as i8 they take
 * 52 and 74. With one bit a code the second bit looked at is the next element's: the table repeats.
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

/* n_sources is a constant where this is inlined, as in add.inl.h. */
LEARNAE_INLINE void KERNEL(JOIN(sum_, CODEC))(float *dst, const float *base, float base_weight,
                                              const uint8_t *const data[MAX_SOURCES],
                                              const float weight[MAX_SOURCES],
                                              const size_t n_sources, size_t n) {
    static const uint8_t every_code[1] = {N_BITS == 1 ? 0x2 : 0xe4}; /* 0, 1 ... from below */
    const vec w = vec_set(base_weight);
    table products[MAX_SOURCES];
    UNROLLED
    for (size_t k = 0; k < n_sources; k++) {
        products[k] = TABLE(weight[k]);
    }
    size_t i = 0;
    while (i + N_A_WORD <= n) {
        const size_t at = i * N_BITS / 8, end = i + N_A_WORD;
        for (steps s = steps_first(N_BITS); i < end; i += LANES, s = steps_next(s, N_BITS)) {
            vec sum = vec_mul(w, vec_load(base + i));
            UNROLLED
            for (size_t k = 0; k < n_sources; k++) {
                sum = vec_add(sum, vec_lookup(products[k], data[k] + at, s));
            }
            vec_store(dst + i, vec_canonical(sum));
        }
    }
    for (; i < n; i++) {
        float sum = base_weight * base[i];
        for (size_t k = 0; k < n_sources; k++) {
            sum = sum + weight[k] * SCALAR_NUMBER(data[k], i);
        }
        dst[i] = scalar_canonical(sum);
    }
}

LEARNAE_INLINE void KERNEL(JOIN(groups_, CODEC))(float *dst, const float *base, float base_weight,
                                                 const struct source *sources,
                                                 const size_t n_sources, size_t n) {
    for (size_t first = 0; first < n; first += GROUP) {
        const uint8_t *data[MAX_SOURCES] = {NULL};
        float weight[MAX_SOURCES] = {0};
        UNROLLED
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

#undef N_A_WORD
#undef NUMBER
#undef SCALAR_NUMBER
#undef TABLE
