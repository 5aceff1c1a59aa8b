/*
 * poison.h - internal: marks memory that nobody may touch, in builds with AddressSanitizer; costs nothing in others.
 *
 * The kernel's own accesses are not checked by the sanitizer, those of our C code and of libc are.
 */
#ifndef MR_POISON_H
#define MR_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define MR_POISON(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#define MR_UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
#else
#define MR_POISON(address, size) ((void)(address), (void)(size))
#define MR_UNPOISON(address, size) ((void)(address), (void)(size))
#endif

#endif
