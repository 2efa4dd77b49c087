/* What the fuzz targets share: an invariant that is checked, and memory that is there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_REQUIRE_H
#define LEARNAE_REQUIRE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: false: %s\n", __FILE__, __LINE__, #condition);                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif /* LEARNAE_REQUIRE_H */
