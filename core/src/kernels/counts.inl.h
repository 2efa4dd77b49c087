/* From groups_CODEC(), which wants its number of sources as a constant, to the kernel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

static void KERNEL(JOIN(add_, CODEC))(float *dst, const float *base, float base_weight,
                                      const struct source *sources, size_t n_sources, size_t n) {
#define CASE(k)                                                                                    \
    case k:                                                                                        \
        KERNEL(JOIN(groups_, CODEC))(dst, base, base_weight, sources, k, n);                       \
        break
    switch (n_sources) {
        CASE(0);
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
    default:
        KERNEL(JOIN(groups_, CODEC))(dst, base, base_weight, sources, MAX_SOURCES, n);
        break;
    }
#undef CASE
}
