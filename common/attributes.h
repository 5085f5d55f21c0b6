#pragma once

/* The compiler attributes that the code relies on, under readable names. */

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/* Runs `function` on the variable's address when it goes out of scope. */
#define CLEANUP(function) __attribute__((cleanup(function)))

/* Hands a pointer over: yields it and leaves NULL behind, so that its CLEANUP does nothing. */
#define TAKE(pointer) __extension__({ __typeof__(pointer) taken_ = (pointer); (pointer) = NULL; taken_; })

/* For the rare or recursive part of something small that is to stay fast: not copied into its callers. */
#define OUT_OF_LINE __attribute__((noinline))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
