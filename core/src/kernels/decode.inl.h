/* Decoding. Included once per codec but for f32, which is a copy; expects what add.inl.h does, and
 *   GROUPED     1 where a scale precedes each group of LEARNAE_I8_GROUP elements
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define FROM JOIN(vec_from_, CODEC)
#define SCALAR_FROM JOIN(scalar_from_, CODEC)

LEARNAE_INLINE void KERNEL(JOIN(values_, CODEC))(float *dst, const uint8_t *data, float scale,
                                                 size_t n) {
    const vec s = vec_set(scale);
    size_t i = 0;
    INDEPENDENT
    for (; i + LANES <= n; i += LANES) {
        const vec value = FROM(data + i * SIZE);
        vec_store(dst + i, vec_canonical(GROUPED ? vec_mul(s, value) : value));
    }
    for (; LANES > 1 && i < n; i++) {
        const float value = SCALAR_FROM(data + i * SIZE);
        dst[i] = scalar_canonical(GROUPED ? scale * value : value);
    }
}

static void KERNEL(JOIN(decode_, CODEC))(float *dst, const struct source *source, size_t n) {
    const size_t group = GROUPED ? LEARNAE_I8_GROUP : n;
    for (size_t start = 0, length; start < n; start += length) {
        length = n - start < group ? n - start : group;
        const float scale =
            GROUPED ? scalar_from_f32(source->scales + start / LEARNAE_I8_GROUP * 4) : 1.0f;
        KERNEL(JOIN(values_, CODEC))(dst + start, source->data + start * SIZE, scale, length);
    }
}

#undef FROM
#undef SCALAR_FROM
