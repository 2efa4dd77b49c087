/* Packs for pairs.inl.h in plain C: eight doubles, from which compilers make vectors.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define PACK 8
#define PACK_ROWS 1

typedef struct {
    double lane[8];
} pack;

#if defined(__GNUC__) && (defined(__FP_FAST_FMA) || defined(__FMA__) || defined(__aarch64__))

LEARNAE_INLINE double fused_square(double sum, double a) {
    return __builtin_fma(a, a, sum);
}

#else

/* sum + a * a, rounded once, for sums of such squares of differences of floats: they neither
 * overflow nor lose bits below. fma() would make the library need another one, and take as long
 * where the CPU has no such instruction.
 *
 * Product and sum are each the rounded one and an error (Dekker 1971, Knuth), so that the result is
 * s + t + e, with t + e at most an ulp of s. That is rounded first, to odd: to the neighbour whose
 * last bit is 1, where it is not exact. So the rounding of the whole sees on which side of a tie it
 * lies (Boldo and Melquiond 2008). */
LEARNAE_INLINE double fused_square(double sum, double a) {
    const double split = 134217729.0 * a; /* 2^27 + 1 */
    const double high = split - (split - a), low = a - high;
    const double square = a * a;
    const double e = ((high * high - square) + 2.0 * high * low) + low * low;
    const double s = sum + square, of_square = s - sum;
    const double t = (sum - (s - of_square)) + (square - of_square);
    double rest = t + e;
    const double of_e = rest - t, lost = (t - (rest - of_e)) + (e - of_e);
    uint64_t pattern;
    memcpy(&pattern, &rest, sizeof pattern);
    const uint64_t away = (lost > 0.0) == (rest > 0.0) ? 1 : UINT64_MAX;
    pattern += lost != 0.0 && (pattern & 1) == 0 ? away : 0;
    memcpy(&rest, &pattern, sizeof rest);
    return s - s == 0.0 ? s + rest : s; /* s: infinite or NaN */
}

#endif

LEARNAE_INLINE pack pack_load(const double *at) {
    pack result;
    memcpy(result.lane, at, sizeof result.lane);
    return result;
}

LEARNAE_INLINE void pack_store(double *at, pack a) {
    memcpy(at, a.lane, sizeof a.lane);
}

LEARNAE_INLINE pack pack_zero(void) {
    const pack result = {{0.0}};
    return result;
}

LEARNAE_INLINE pack pack_from(const float *at) {
    pack result;
    for (int i = 0; i < 8; i++) {
        result.lane[i] = (double)at[i];
    }
    return result;
}

LEARNAE_INLINE pack pack_sub(pack a, pack b) {
    for (int i = 0; i < 8; i++) {
        a.lane[i] -= b.lane[i];
    }
    return a;
}

LEARNAE_INLINE pack pack_add_square(pack sum, pack a) {
    for (int i = 0; i < 8; i++) {
        sum.lane[i] = fused_square(sum.lane[i], a.lane[i]);
    }
    return sum;
}

LEARNAE_INLINE void pack_add_four(double *sums, pack lanes[4][1]) {
    for (int c = 0; c < 4; c++) {
        sums[c] += sum_of_lanes(lanes[c][0].lane);
    }
}
