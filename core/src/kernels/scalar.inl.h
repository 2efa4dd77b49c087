/* One element in plain C: the whole of the portable kernels, and the tails of the others.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#define CANONICAL_NAN_BITS 0x7fc00000u

/* Before loops over the sources of a pass: rolled up, these would keep pointers and weights in
 * memory, which groups of 64 to 256 elements pay for each time. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLLED _Pragma("GCC unroll 8")
#else
#define UNROLLED
#endif

/* Bytes ahead of the loop in the sum and in the sources of a pass, where these are encoded. The
 * processor's own prefetching is enough for float32 (asking for more costs up to 39 %). Encoded
 * sources advance by fewer bytes a turn, so that fewer lines are under way: with one thread out
 * of memory eight bf16 models take a quarter less time so (Zen 4). */
#define BASE_AHEAD 1024
#define SOURCE_AHEAD 256

/* And in the second-level cache, and then in the first, where the sources of a pass are halves and
 * come from memory: that takes one thread 0.91 to 0.96 (bf16) and 0.97 to 0.99 (f16) of the time,
 * and from the third-level cache 1.2. */
#define BASE_FAR_AHEAD 8192
#define SOURCE_FAR_AHEAD 4096
#define STREAMED_SOURCE_AHEAD 512

/* May point behind the end: it is a hint, and never faults. */
LEARNAE_INLINE void prefetch(const void *at, size_t ahead) {
#if defined(__GNUC__)
    __builtin_prefetch((const void *)((uintptr_t)at + ahead));
#else
    (void)at;
    (void)ahead;
#endif
}

/* The same for codes of a byte or less, and for the sum beside them: much earlier into the
 * second-level cache, which has the room and to which more lines can be under way, then into the
 * first. With eight models out of memory that takes one thread of a Zen 4 0.76 (i8), 0.89 (i4),
 * 0.75 (sign) and 0.87 (ternary) of the time, and from the third-level cache 1.04; at a third of
 * these distances most is lost. */
LEARNAE_INLINE void prefetch_codes(const uint8_t *at) {
    LEARNAE_PREFETCH(at, 3072);
    prefetch(at, 512);
}

LEARNAE_INLINE void prefetch_sum(const float *at) {
    LEARNAE_PREFETCH(at, 12288);
    prefetch(at, 2048);
}

/* In the order of the header, where distances are added. */
LEARNAE_INLINE double sum_of_lanes(const double lane[8]) {
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

LEARNAE_INLINE float scalar_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

LEARNAE_INLINE uint32_t scalar_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

LEARNAE_INLINE float scalar_canonical(float value) {
    return value == value ? value : scalar_from_bits(CANONICAL_NAN_BITS);
}

LEARNAE_INLINE void scalar_add(float *at, float term) {
    const float sum = *at + term;
    *at = sum;
    if (sum != sum) { /* hardly ever: a branch costs less than a choice */
        *at = scalar_canonical(sum);
    }
}

LEARNAE_INLINE float scalar_from_f32(const uint8_t *at) {
    return scalar_from_bits(read_u32(at));
}

LEARNAE_INLINE float scalar_from_bf16(const uint8_t *at) {
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return scalar_from_bits((uint32_t)half << 16);
}

/* Shifting the fields into place and multiplying by 2^112 corrects the exponent's bias, and
 * gives subnormals and zeros their value, all without rounding. Exponent 31 is infinity and NaN:
 * it only has to be filled up. No branch, which compilers would not vectorise. */
LEARNAE_INLINE float scalar_from_f16(const uint8_t *at) {
    uint16_t half;
    memcpy(&half, at, sizeof half);
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t fields = (uint32_t)(half & 0x7fffu) << 13;
    const uint32_t scaled = scalar_bits(scalar_from_bits(fields) * 0x1p112f);
    const uint32_t special = 0u - (uint32_t)(fields >= 0x0f800000u);
    return scalar_from_bits(sign | scaled | (special & 0x7f800000u));
}

LEARNAE_INLINE float scalar_from_i8(const uint8_t *at) {
    return (float)(int8_t)*at;
}

LEARNAE_INLINE void scalar_to_bf16(uint8_t *at, float value) {
    const uint32_t bits = scalar_bits(value);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const uint16_t half = (uint16_t)(value == value ? rounded : 0x7fc0u);
    memcpy(at, &half, sizeof half);
}

/* Normal results are rounded on the bits: the carry may run into the exponent, up to infinity,
 * which is right. Results below 2^-14 are multiples of 2^-24, the spacing of floats in
 * [1/2, 1): adding 1/2 lets the hardware round them. From 65,520 on the result is infinite. */
LEARNAE_INLINE void scalar_to_f16(uint8_t *at, float value) {
    const uint32_t bits = scalar_bits(value);
    const uint32_t magnitude = bits & 0x7fffffffu;
    const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    const uint32_t subnormal = scalar_bits(scalar_from_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;
    half = value == value ? half | (bits >> 16 & 0x8000u) : 0x7e00u;
    const uint16_t stored = (uint16_t)half;
    memcpy(at, &stored, sizeof stored);
}

/* |value| is at most 127. In [2^23, 2^24) the spacing of floats is 1: adding 1.5 * 2^23 rounds
 * to an integer, half to even, and no library call is needed. */
LEARNAE_INLINE void scalar_to_i8(uint8_t *at, float value) {
    const float rounded = (value + 0x1.8p23f) - 0x1.8p23f;
    *at = (uint8_t)(int8_t)rounded;
}

/* The levels of i4 for normally distributed elements in groups of 64, by Lloyd's method: the
 * squared error falls until each level is the mean of what is rounded to it. -127 and 127 are kept,
 * for every group has an element there, and 0, because a model's zeros should stay zero. Relative
 * error 0.0899 (root of the squares' sums); evenly spaced levels have 0.0993. NumPy made them:
 *
 *   m = linspace(0.05, 7, 1400)                     # the largest magnitude of 64 elements
 *   inside = [erf(each / sqrt(2)) for each in m]    # how likely one of them is below it
 *   p = 64 * array(inside)**63 * exp(-m*m / 2)
 *   y = arange(-1270, 1271) / 10                    # the others, times 127 / m
 *   density = exp(-outer(m, y / 127)**2 / 2)
 *   density /= density.sum(axis=1, keepdims=True)
 *   weight = (p * m*m) @ density                    # errors count in the unit of the elements
 *   level = concatenate([linspace(-127, 0, 8), linspace(0, 127, 9)[1:]])
 *   for _ in range(3000):
 *       cell = searchsorted((level[1:] + level[:-1]) / 2, y)
 *       level = bincount(cell, weight * y, 16) / bincount(cell, weight, 16)
 *       level[[0, 7, 15]] = -127, 0, 127
 *   rint(level)
 */
static const int8_t levels_i4[16] = {-127, -96, -74, -56, -41, -27, -13, 0,
                                     12,   23,  36,  49,  63,  79,  99,  127};

/* The largest code of i8 that is rounded to level 0, 1, ...: halfway to the next one, rounded
 * down, so that ties go to the lower level. */
static const int8_t last_i4[15] = {-112, -85, -65, -49, -34, -20, -7, 6,
                                   17,   29,  42,  56,  71,  89,  113};

/* The i-th level, as the bits of an int8. */
LEARNAE_INLINE uint8_t scalar_code_i4(const uint8_t *packed, size_t i) {
    return (uint8_t)levels_i4[packed[i / 2] >> i % 2 * 4 & 15];
}

LEARNAE_INLINE uint8_t scalar_to_i4(uint8_t code) {
    uint8_t level = 0;
    for (size_t i = 0; i < 15; i++) {
        level = (uint8_t)(level + ((int8_t)code > last_i4[i]));
    }
    return level;
}

/* One byte, of the first two codes or the only one. */
LEARNAE_INLINE void scalar_pack_i4(uint8_t *packed, const uint8_t *codes, size_t n) {
    const uint8_t high = n > 1 ? scalar_to_i4(codes[1]) : 0;
    *packed = (uint8_t)(scalar_to_i4(codes[0]) | high << 4);
}

LEARNAE_INLINE uint32_t scalar_magnitude(float value) {
    return scalar_bits(value) & 0x7fffffffu;
}

/* As an int8: 1 or -1. */
LEARNAE_INLINE uint8_t scalar_code_sign(const uint8_t *packed, size_t i) {
    return (packed[i / 8] >> i % 8 & 1) != 0 ? 0xff : 1;
}

/* As an int8: two bits with their sign. */
LEARNAE_INLINE uint8_t scalar_code_ternary(const uint8_t *packed, size_t i) {
    static const uint8_t codes[4] = {0, 1, 0xfe, 0xff};
    return codes[packed[i / 4] >> i % 4 * 2 & 3];
}

/* The lanes in order. A sum that overflowed would make an infinite scale: the largest float is as
 * good for such a group, and can be carried. */
LEARNAE_INLINE float scalar_mean(const float sum[8], const float count[8]) {
    float total = sum[0], n = count[0];
    for (int i = 1; i < 8; i++) {
        total += sum[i];
        n += count[i];
    }
    const float mean = n > 0.0f ? total * (1.0f / n) : 0.0f;
    return mean > FLT_MAX ? FLT_MAX : mean;
}

/* Bits 0, 1, 2 ... of a byte to bits 0, 2, 4 ... */
LEARNAE_INLINE uint32_t scalar_spread(uint32_t bits) {
    bits = (bits | bits << 4) & 0x0f0fu;
    bits = (bits | bits << 2) & 0x3333u;
    return (bits | bits << 1) & 0x5555u;
}

/* The codes of eight elements: 1 where `above` is set, 3 where `negative` is too. */
LEARNAE_INLINE uint16_t scalar_pairs(uint32_t above, uint32_t negative) {
    return (uint16_t)(scalar_spread(above) | scalar_spread(above & negative) << 1);
}

/* One byte, of the first four elements or fewer. */
LEARNAE_INLINE uint8_t scalar_pack_ternary(const float *src, float threshold, size_t n) {
    uint32_t above = 0, negative = 0;
    for (size_t i = 0; i < (n < 4 ? n : 4); i++) {
        above |= (uint32_t)(scalar_from_bits(scalar_magnitude(src[i])) > threshold) << i;
        negative |= scalar_bits(src[i]) >> 31 << i;
    }
    return (uint8_t)scalar_pairs(above, negative);
}
