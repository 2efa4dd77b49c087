/* Two sums of squares: in float32 over a run of 256 elements, in eight lanes, which then are added
 * to eight of float64. Widening every element instead took three times as long. Expects what
 * kernels.inl.h lists.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#define PARTS (8 / LANES) /* vectors in a row of eight */

/* The last elements of a run, from `first`, too few for a row. */
LEARNAE_INLINE void KERNEL(last_squares)(vec distance[PARTS], vec norm[PARTS], const float *value,
                                         const float *reference, size_t first, size_t n) {
    float far[8], size[8];
    for (size_t p = 0; p < PARTS; p++) {
        vec_store(far + p * LANES, distance[p]);
        vec_store(size + p * LANES, norm[p]);
    }
    for (size_t i = first; i < n; i++) {
        const float x = value[i], d = reference != NULL ? x - reference[i] : x;
        far[i % 8] += d * d;
        size[i % 8] += x * x;
    }
    for (size_t p = 0; p < PARTS; p++) {
        distance[p] = vec_load(far + p * LANES);
        norm[p] = vec_load(size + p * LANES);
    }
}

LEARNAE_INLINE void KERNEL(widen_lanes)(double lanes[8], const vec sum[PARTS]) {
    for (size_t p = 0; p < PARTS; p++) {
        wide_store(lanes + p * LANES, wide_add(wide_load(lanes + p * LANES), wide_from(sum[p])));
    }
}

/* One run. has_reference is a constant where this is inlined. */
LEARNAE_INLINE void KERNEL(squares_of_run)(double distance2[8], double norm2[8], const float *value,
                                           const float *reference, const bool has_reference,
                                           size_t n) {
    vec distance[PARTS], norm[PARTS];
    for (size_t p = 0; p < PARTS; p++) {
        distance[p] = norm[p] = vec_set(0.0f);
    }
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t p = 0; p < PARTS; p++) {
            const vec x = vec_load(value + i + p * LANES);
            norm[p] = vec_add(norm[p], vec_mul(x, x));
            if (has_reference) {
                const vec d = vec_sub(x, vec_load(reference + i + p * LANES));
                distance[p] = vec_add(distance[p], vec_mul(d, d));
            }
        }
    }
    if (i < n) {
        KERNEL(last_squares)(distance, norm, value, reference, i, n);
    }
    KERNEL(widen_lanes)(norm2, norm);
    if (has_reference) {
        KERNEL(widen_lanes)(distance2, distance);
    }
}

static void KERNEL(squares)(double distance2[8], double norm2[8], const float *value,
                            const float *reference, size_t n) {
    for (size_t start = 0, length; start < n; start += length) {
        length = n - start < SQUARES_RUN ? n - start : SQUARES_RUN;
        if (reference == NULL) {
            KERNEL(squares_of_run)(distance2, norm2, value + start, NULL, false, length);
        } else {
            KERNEL(squares_of_run)
            (distance2, norm2, value + start, reference + start, true, length);
        }
    }
}

#undef PARTS
