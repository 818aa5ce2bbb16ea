/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of the JSON reader once more, over its portable code (no SSE2), eight bytes at a time.
 */
#define EG_JSON_NO_SIMD 1
#include "proto/json_scan.c"

#include "test_json_scan.c"
