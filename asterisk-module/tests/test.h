/* A test's few words: each failure prints where, what, expected and actual. */

#ifndef TEST_H
#define TEST_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int failures;

#define EXPECT(actual, expected) do { \
	intmax_t actual_ = (intmax_t) (actual); \
	intmax_t expected_ = (intmax_t) (expected); \
	if (actual_ != expected_) { \
		fprintf(stderr, "%s:%d: %s is %" PRIdMAX ", expected %" PRIdMAX "\n", \
			__FILE__, __LINE__, #actual, actual_, expected_); \
		failures++; \
	} \
} while (0)

#define EXPECT_TEXT(actual, expected) do { \
	const char *actual_ = (actual); \
	const char *expected_ = (expected); \
	if (!actual_ || strcmp(actual_, expected_)) { \
		fprintf(stderr, "%s:%d: %s is\n  %s\nexpected\n  %s\n", __FILE__, __LINE__, \
			#actual, actual_ ? actual_ : "(null)", expected_); \
		failures++; \
	} \
} while (0)

#define RUN(test) do { \
	int before_ = failures; \
	test(); \
	printf("%s %s\n", failures == before_ ? "ok  " : "FAIL", #test); \
} while (0)

#endif /* TEST_H */
