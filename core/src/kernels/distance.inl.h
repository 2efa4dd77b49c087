/* Two sums of squares in float64, in eight lanes. Expects what kernels.inl.h lists.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#define PARTS (8 / LANES) /* vectors in a row of eight */

/* has_reference is a constant where this is inlined. */
LEARNAE_INLINE uint32_t KERNEL(squares)(double distance2[8], double norm2[8], const float *value,
                                        const float *reference, const bool has_reference,
                                        size_t n) {
    wide distance[PARTS], norm[PARTS];
    bits max = bits_zero();
    for (size_t p = 0; p < PARTS; p++) {
        distance[p] = wide_load(distance2 + p * LANES);
        norm[p] = wide_load(norm2 + p * LANES);
    }
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t p = 0; p < PARTS; p++) {
            const vec narrow = vec_load(value + i + p * LANES);
            const wide x = wide_from(narrow);
            wide d = x;
            if (has_reference) {
                d = wide_sub(x, wide_from(vec_load(reference + i + p * LANES)));
            }
            max = bits_max(max, vec_magnitude(narrow));
            distance[p] = wide_add(distance[p], wide_mul(d, d));
            norm[p] = wide_add(norm[p], wide_mul(x, x));
        }
    }
    for (size_t p = 0; p < PARTS; p++) {
        wide_store(distance2 + p * LANES, distance[p]);
        wide_store(norm2 + p * LANES, norm[p]);
    }
    uint32_t result = bits_reduce(max);
    for (; i < n; i++) {
        const double x = (double)value[i];
        const double d = has_reference ? x - (double)reference[i] : x;
        const uint32_t magnitude = scalar_magnitude(value[i]);
        result = magnitude > result ? magnitude : result;
        distance2[i % 8] += d * d;
        norm2[i % 8] += x * x;
    }
    return result;
}

static uint32_t KERNEL(distance)(double distance2[8], double norm2[8], const float *value,
                                 const float *reference, size_t n) {
    return reference == NULL ? KERNEL(squares)(distance2, norm2, value, NULL, false, n)
                             : KERNEL(squares)(distance2, norm2, value, reference, true, n);
}

#undef PARTS
