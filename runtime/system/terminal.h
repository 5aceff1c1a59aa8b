/*
 * terminal.h - the terminal that a person types at: raw mode that is sure to end, its size, how wide characters are.
 *
 * Independent of the loop: input comes as bytes through whatever reads the descriptor. Raw mode belongs to the process, of
 * which one terminal at a time can be in it.
 */
#ifndef MR_TERMINAL_H
#define MR_TERMINAL_H

#include "../api.h"

/* Whether the descriptor is a terminal: 1 or 0. */
MR_API int mr_terminal_is(int descriptor);

/*
 * Lets the terminal hand over every key as it is typed: no lines, no echo; output is processed as before. Of the keys that are
 * signals Ctrl-C and Ctrl-\ stay so, because they must reach a program that computes. What was set stays known until mr_terminal_restore, which also runs when the process exits or a signal ends it. Calling it
 * again for the same descriptor does nothing. Result: 0, -EBUSY when another terminal is raw, -ENOTTY, negative errno.
 */
MR_API int mr_terminal_raw(int descriptor);

/* Puts back what mr_terminal_raw found; nothing when no terminal is raw. Async-signal-safe. */
MR_API void mr_terminal_restore(void);

/* Stops the process group as Ctrl-Z does, restored meanwhile, and makes the terminal raw again when it goes on. Result: as raw. */
MR_API int mr_terminal_suspend(void);

/* Its size; where that is not known 80 columns and 24 rows. */
typedef struct mr_terminal_size {
  int32_t columns;
  int32_t rows;
} mr_terminal_size;

MR_API void mr_terminal_measure(int descriptor, mr_terminal_size *out);

/* Columns that a character (a Unicode scalar value) takes: 0 (combining), 1, 2 (wide); -1 when it can't be shown. wcwidth(3). */
MR_API int mr_terminal_width(uint32_t character);

#endif
