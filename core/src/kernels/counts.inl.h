/* From groups_CODEC(), which wants its number of sources as a constant, to the kernel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

static void KERNEL(JOIN(add_, CODEC))(float *dst, const float *base, float base_weight,
                                      const struct source *sources, size_t n_sources, size_t n) {
    switch (n_sources) {
    case 0:
        KERNEL(JOIN(groups_, CODEC))(dst, base, base_weight, sources, 0, n);
        break;
    case 1:
        KERNEL(JOIN(groups_, CODEC))(dst, base, base_weight, sources, 1, n);
        break;
    case 2:
        KERNEL(JOIN(groups_, CODEC))(dst, base, base_weight, sources, 2, n);
        break;
    case 3:
        KERNEL(JOIN(groups_, CODEC))(dst, base, base_weight, sources, 3, n);
        break;
    default:
        KERNEL(JOIN(groups_, CODEC))(dst, base, base_weight, sources, 4, n);
        break;
    }
}
