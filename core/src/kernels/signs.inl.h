/* Encoding sign and ternary. Expects what kernels.inl.h lists.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#define PARTS (8 / LANES) /* vectors in a row of eight */

/* The mean of the group's magnitudes above `threshold`, in the eight lanes of the header; 0 where
 * there are none. */
LEARNAE_INLINE float KERNEL(mean_above)(const float *src, float threshold, size_t n) {
    const vec t = vec_set(threshold), one = vec_set(1.0f);
    vec sums[PARTS], counts[PARTS];
    float sum[8], count[8];
    for (size_t p = 0; p < PARTS; p++) {
        sums[p] = counts[p] = vec_set(0.0f);
    }
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t p = 0; p < PARTS; p++) {
            const vec magnitude = vec_abs(vec_load(src + i + p * LANES));
            sums[p] = vec_add(sums[p], vec_where_above(magnitude, t, magnitude));
            counts[p] = vec_add(counts[p], vec_where_above(magnitude, t, one));
        }
    }
    for (size_t p = 0; p < PARTS; p++) {
        vec_store(sum + p * LANES, sums[p]);
        vec_store(count + p * LANES, counts[p]);
    }
    for (; i < n; i++) {
        const float magnitude = scalar_from_bits(scalar_magnitude(src[i]));
        if (magnitude > threshold) {
            sum[i % 8] += magnitude;
            count[i % 8] += 1.0f;
        }
    }
    return scalar_mean(sum, count);
}

#define ALL (-1.0f) /* what every magnitude is above */

static bool KERNEL(encode_sign)(uint8_t *scales, uint8_t *packed, const float *src, size_t n) {
    for (size_t start = 0, length; start < n; start += length, scales += 4) {
        length = n - start < LEARNAE_SIGN_GROUP ? n - start : LEARNAE_SIGN_GROUP;
        if (KERNEL(max_magnitude)(src + start, length) >= NONFINITE_BITS) {
            return false;
        }
        const float scale = KERNEL(mean_above)(src + start, ALL, length);
        memcpy(scales, &scale, 4);
    }
    size_t i = 0;
    for (; i + 8 <= n; i += 8, packed++) {
        uint32_t negative = 0;
        for (size_t p = 0; p < PARTS; p++) {
            negative |= vec_bits_negative(vec_load(src + i + p * LANES)) << p * LANES;
        }
        *packed = (uint8_t)negative;
    }
    if (i < n) {
        *packed = 0;
        for (; i < n; i++) {
            *packed = (uint8_t)(*packed | scalar_bits(src[i]) >> 31 << i % 8);
        }
    }
    return true;
}

/* Two bytes: a pair of bits for each of eight elements. */
LEARNAE_INLINE void KERNEL(pack_ternary)(uint8_t *packed, const float *src, float threshold) {
    const vec t = vec_set(threshold);
    uint32_t above = 0, negative = 0;
    for (size_t p = 0; p < PARTS; p++) {
        const vec x = vec_load(src + p * LANES);
        above |= vec_bits_above(vec_abs(x), t) << p * LANES;
        negative |= vec_bits_negative(x) << p * LANES;
    }
    const uint16_t pairs = scalar_pairs(above, negative);
    memcpy(packed, &pairs, sizeof pairs);
}

static bool KERNEL(encode_ternary)(uint8_t *scales, uint8_t *packed, const float *src, size_t n) {
    for (size_t start = 0, length; start < n; start += length, scales += 4) {
        length = n - start < LEARNAE_SIGN_GROUP ? n - start : LEARNAE_SIGN_GROUP;
        const float *const group = src + start;
        if (KERNEL(max_magnitude)(group, length) >= NONFINITE_BITS) {
            return false;
        }
        const float threshold = 0.7f * KERNEL(mean_above)(group, ALL, length);
        const float scale = KERNEL(mean_above)(group, threshold, length);
        memcpy(scales, &scale, 4);
        size_t i = 0;
        for (; i + 8 <= length; i += 8, packed += 2) {
            KERNEL(pack_ternary)(packed, group + i, threshold);
        }
        for (; i < length; i += 4, packed++) {
            *packed = scalar_pack_ternary(group + i, threshold, length - i);
        }
    }
    return true;
}

#undef ALL
#undef PARTS
