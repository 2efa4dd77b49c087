/* Statuses and messages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

const char *learnae_version(void) {
    return LEARNAE_VERSION;
}

const char *learnae_status_name(learnae_status status) {
    switch (status) {
    case LEARNAE_OK:
        return "ok";
    case LEARNAE_ERR_ARGUMENT:
        return "argument";
    case LEARNAE_ERR_SIZE:
        return "size";
    case LEARNAE_ERR_FORMAT:
        return "format";
    case LEARNAE_ERR_CHECKSUM:
        return "checksum";
    case LEARNAE_ERR_NONFINITE:
        return "nonfinite";
    }
    return "unknown";
}

learnae_status learnae_internal_fail(learnae_status status, learnae_message *message,
                                     const char *format, ...) {
    if (message != NULL) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(message->text, sizeof message->text, format, arguments);
        va_end(arguments);
    }
    return status;
}
