/* The portable row: a vector is one float, and compilers make of that what they can.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../internal.h"

#include "../kernels/scalar.inl.h"

#define ISA portable
#define LANES 1

/* In place means the same address, so no iteration reads what another writes; without this, the
 * overlap test that the compiler puts before its vector loop fails for the usual case. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* without optimisation it cannot be followed */
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif

typedef float vec;
typedef uint32_t bits;
typedef int32_t key;
typedef double wide;

LEARNAE_INLINE vec vec_load(const float *at) {
    return *at;
}
LEARNAE_INLINE void vec_store(float *at, vec a) {
    *at = a;
}
LEARNAE_INLINE vec vec_set(float a) {
    return a;
}
LEARNAE_INLINE vec vec_mul(vec a, vec b) {
    return a * b;
}
LEARNAE_INLINE vec vec_add(vec a, vec b) {
    return a + b;
}

#define vec_canonical scalar_canonical
#define vec_from_f32 scalar_from_f32
#define vec_from_bf16 scalar_from_bf16
#define vec_from_f16 scalar_from_f16
#define vec_from_i8 scalar_from_i8
#define vec_to_bf16 scalar_to_bf16
#define vec_to_f16 scalar_to_f16
#define vec_to_i8 scalar_to_i8
#define vec_magnitude scalar_magnitude

typedef struct {
    int32_t first, second;
} pair;
typedef int32_t integers;

LEARNAE_INLINE pair pair_set(uint32_t both) {
    const pair result = {(int16_t)(uint16_t)both, (int16_t)(uint16_t)(both >> 16)};
    return result;
}
LEARNAE_INLINE integers integers_zero(void) {
    return 0;
}
LEARNAE_INLINE integers integers_add_one(integers sum, pair p, const uint8_t *at) {
    return sum + p.first * (int8_t)*at;
}
LEARNAE_INLINE integers integers_add_two(integers sum, pair p, const uint8_t *at_a,
                                         const uint8_t *at_b) {
    return sum + p.first * (int8_t)*at_a + p.second * (int8_t)*at_b;
}
LEARNAE_INLINE vec vec_from_first(integers sum) {
    return (float)sum;
}
#define vec_from_second vec_from_first

LEARNAE_INLINE bits bits_zero(void) {
    return 0;
}
LEARNAE_INLINE bits bits_max(bits a, bits b) {
    return a > b ? a : b;
}
LEARNAE_INLINE uint32_t bits_reduce(bits a) {
    return a;
}

LEARNAE_INLINE void unpack_32_i4(uint8_t *codes, const uint8_t *packed) {
    for (size_t i = 0; i < 32; i++) {
        codes[i] = scalar_code_i4(packed, i);
    }
}

LEARNAE_INLINE void unpack_32_sign(uint8_t *codes, const uint8_t *packed) {
    for (size_t i = 0; i < 32; i++) {
        codes[i] = scalar_code_sign(packed, i);
    }
}

LEARNAE_INLINE void unpack_32_ternary(uint8_t *codes, const uint8_t *packed) {
    for (size_t i = 0; i < 32; i++) {
        codes[i] = scalar_code_ternary(packed, i);
    }
}

typedef struct {
    float at[4];
} table;
typedef uint32_t steps;

LEARNAE_INLINE table vec_table(float a, float b, float c, float d) {
    const table result = {{a, b, c, d}};
    return result;
}
LEARNAE_INLINE vec vec_lookup(table t, const uint8_t *packed, steps s) {
    return t.at[read_u32(packed) >> s & 3];
}
LEARNAE_INLINE steps steps_first(int n) {
    (void)n;
    return 0;
}
LEARNAE_INLINE steps steps_next(steps s, int n) {
    return s + (uint32_t)n;
}

LEARNAE_INLINE vec vec_abs(vec a) {
    return scalar_from_bits(scalar_magnitude(a));
}
LEARNAE_INLINE vec vec_where_above(vec a, vec b, vec c) {
    return a > b ? c : 0.0f;
}
LEARNAE_INLINE uint32_t vec_bits_above(vec a, vec b) {
    return a > b;
}
LEARNAE_INLINE uint32_t vec_bits_negative(vec a) {
    return scalar_bits(a) >> 31;
}

LEARNAE_INLINE void pack_32_i4(uint8_t *packed, const uint8_t *codes) {
    for (size_t i = 0; i < 32; i += 2) {
        scalar_pack_i4(packed + i / 2, codes + i, 2);
    }
}

LEARNAE_INLINE vec vec_sub(vec a, vec b) {
    return a - b;
}

LEARNAE_INLINE vec vec_div(vec a, vec b) {
    return a / b;
}

/* The bits of a negative number below the sign, flipped: no branch, which compilers would not
 * vectorise, and no shift of a negative number, which C leaves to them. */
LEARNAE_INLINE uint32_t flipped(uint32_t a) {
    return a ^ (0u - (a >> 31)) >> 1;
}
LEARNAE_INLINE key key_from_vec(vec a) {
    return (key)flipped(scalar_bits(a));
}
LEARNAE_INLINE vec vec_from_key(key a) {
    return scalar_from_bits(flipped((uint32_t)a));
}
LEARNAE_INLINE key key_min(key a, key b) {
    return a < b ? a : b;
}
LEARNAE_INLINE key key_max(key a, key b) {
    return a > b ? a : b;
}

LEARNAE_INLINE wide wide_load(const double *at) {
    return *at;
}
LEARNAE_INLINE void wide_store(double *at, wide a) {
    *at = a;
}
LEARNAE_INLINE wide wide_from(vec a) {
    return (double)a;
}
LEARNAE_INLINE wide wide_add(wide a, wide b) {
    return a + b;
}

#include "pack_portable.h"

#include "../kernels/kernels.inl.h"

const struct kernel_table learnae_internal_portable = {
    .isa = "portable", KERNELS, .crc32c = learnae_internal_crc32c};
