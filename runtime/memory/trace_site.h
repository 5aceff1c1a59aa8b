/*
 * trace_site.h - internal to trace mode: places in the program, and how they are printed.
 */
#ifndef MR_TRACE_SITE_H
#define MR_TRACE_SITE_H

#include <stdint.h>

enum { SITE_FRAMES = 5 };

/* Where something happened: a line of Lua when there was one, the C callers, the function called. */
typedef struct mr_site {
  const char *place; /* interned, NULL: not from Lua */
  const char *what;  /* static */
  void *frames[SITE_FRAMES];
  int frame_count;
} mr_site;

/* Things of one place, counted together. */
typedef struct mr_site_group {
  mr_site site;
  uint64_t count, bytes;
} mr_site_group;

enum { SITE_GROUPS_MAX = 256 };

typedef struct mr_site_groups {
  mr_site_group groups[SITE_GROUPS_MAX];
  int count;
  uint64_t more_count, more_bytes; /* of places that found no room */
} mr_site_groups;

/* The place that the calling thread is at. */
void mr_site_here(mr_site *site, const char *what);

/* All of the following under the trace's lock. */

const char *mr_site_intern(const char *text); /* NULL when there is no memory for it */

/* Begins a report of one fault; its lines follow. */
void mr_report_begin(const char *format, ...) __attribute__((format(printf, 1, 2)));
void mr_report_site(const char *label, const mr_site *site);
void mr_report_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void mr_report_end(void);

/* Adds to the group of the site. Result: 1 when it is the first of its place. */
int mr_groups_add(mr_site_groups *groups, const mr_site *site, uint64_t bytes);
/* One line for each group, with its place. */
void mr_groups_report(const mr_site_groups *groups, const char *label);

#endif
