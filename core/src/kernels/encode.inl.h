/* Encoding: bf16, f16, i8. Expects what kernels.inl.h lists.
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

/* Below 2^-110, 127 / max would come near overflow, and the scale near underflow, where it
 * loses bits. No model has such groups but for those that are zero. */
static bool KERNEL(encode_i8)(uint8_t *scales, uint8_t *codes, const float *src, size_t n) {
    for (size_t start = 0, length; start < n; start += length, scales += 4) {
        length = n - start < LEARNAE_I8_GROUP ? n - start : LEARNAE_I8_GROUP;
        const uint32_t magnitude = KERNEL(max_magnitude)(src + start, length);
        if (magnitude >= NONFINITE_BITS) {
            return false;
        }
        const float max = scalar_from_bits(magnitude);
        if (max < 0x1p-110f) {
            memset(scales, 0, 4);
            memset(codes + start, 0, length);
            continue;
        }
        const float scale = max / 127.0f;
        memcpy(scales, &scale, 4);
        KERNEL(codes)(codes + start, src + start, 127.0f / max, length);
    }
    return true;
}
