/* Encoding: bf16, f16, i8, i4. Expects what kernels.inl.h lists.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

static void KERNEL(encode_bf16)(uint8_t *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec_to_bf16(dst + i * 2, vec_load(src + i));
    }
    for (; LANES > 1 && i < n; i++) {
        scalar_to_bf16(dst + i * 2, src[i]);
    }
}

static void KERNEL(encode_f16)(uint8_t *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec_to_f16(dst + i * 2, vec_load(src + i));
    }
    for (; LANES > 1 && i < n; i++) {
        scalar_to_f16(dst + i * 2, src[i]);
    }
}

/* Magnitudes compare as integers as they do as floats, and NaN is above all of them. */
static uint32_t KERNEL(max_magnitude)(const float *src, size_t n) {
    bits max = bits_zero();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        max = bits_max(max, vec_magnitude(vec_load(src + i)));
    }
    uint32_t result = bits_reduce(max);
    for (; LANES > 1 && i < n; i++) {
        const uint32_t magnitude = scalar_magnitude(src[i]);
        result = magnitude > result ? magnitude : result;
    }
    return result;
}

static void KERNEL(codes)(uint8_t *dst, const float *src, float factor, size_t n) {
    const vec f = vec_set(factor);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec_to_i8(dst + i, vec_mul(vec_load(src + i), f));
    }
    for (; LANES > 1 && i < n; i++) {
        scalar_to_i8(dst + i, src[i] * factor);
    }
}

/* One group in i8. Below 2^-110, 127 / max would come near overflow, and the scale near underflow,
 * where it loses bits. No model has such groups but for those that are zero. */
LEARNAE_INLINE bool KERNEL(encode_group)(uint8_t *scale, uint8_t *codes, const float *src,
                                         size_t n) {
    const uint32_t magnitude = KERNEL(max_magnitude)(src, n);
    if (magnitude >= NONFINITE_BITS) {
        return false;
    }
    const float max = scalar_from_bits(magnitude);
    if (max < 0x1p-110f) {
        memset(scale, 0, 4);
        memset(codes, 0, n);
        return true;
    }
    const float value = max / 127.0f;
    memcpy(scale, &value, 4);
    KERNEL(codes)(codes, src, 127.0f / max, n);
    return true;
}

static bool KERNEL(encode_i8)(uint8_t *scales, uint8_t *codes, const float *src, size_t n) {
    bool finite = true;
    for (size_t start = 0, length; finite && start < n; start += length, scales += 4) {
        length = n - start < LEARNAE_I8_GROUP ? n - start : LEARNAE_I8_GROUP;
        finite = KERNEL(encode_group)(scales, codes + start, src + start, length);
    }
    return finite;
}

static bool KERNEL(encode_i4)(uint8_t *scales, uint8_t *packed, const float *src, size_t n) {
    uint8_t codes[LEARNAE_I4_GROUP];
    for (size_t start = 0, length; start < n; start += length, scales += 4) {
        length = n - start < LEARNAE_I4_GROUP ? n - start : LEARNAE_I4_GROUP;
        if (!KERNEL(encode_group)(scales, codes, src + start, length)) {
            return false;
        }
        size_t i = 0;
        for (; i + 32 <= length; i += 32, packed += 16) {
            pack_32_i4(packed, codes + i);
        }
        for (; i < length; i += 2, packed++) {
            scalar_pack_i4(packed, codes + i, length - i);
        }
    }
    return true;
}
