/*
 * trace_site.c - places in the program and the text of reports.
 *
 * A report is a headline that names the fault, and one indented line for each place that had a part in it, the Lua line first. C
 * callers are printed as symbol+offset or file+offset, the form that addr2line takes.
 */
#include "memory/trace_site.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

#include "memory/trace_internal.h"

enum { PLACE_BUCKETS = 1024, OWN_FRAMES = 2 };

typedef struct interned {
  struct interned *next;
  char text[];
} interned;

static interned *buckets[PLACE_BUCKETS];
static FILE *output; /* NULL: stderr */
static int64_t reports;

static _Thread_local const char *current_place __attribute__((tls_model("initial-exec")));

const char *mr_site_intern(const char *text) {
  uint32_t hash = 2166136261u;
  for (const char *at = text; *at; at++)
    hash = (hash ^ (uint8_t)*at) * 16777619u;
  interned **bucket = &buckets[hash % PLACE_BUCKETS];
  for (interned *each = *bucket; each; each = each->next)
    if (!strcmp(each->text, text))
      return each->text;
  size_t size = strlen(text) + 1;
  interned *made = malloc(sizeof *made + size);
  if (!made)
    return NULL;
  memcpy(made->text, text, size);
  made->next = *bucket;
  *bucket = made;
  return made->text;
}

void mr_trace_place(const char *text) {
  if (text) {
    mr_trace_lock();
    text = mr_site_intern(text);
    mr_trace_unlock();
  }
  current_place = text;
}

/* A walk up the stack, whose first frames, `skip` of them, are ours. */
typedef struct walk {
  mr_site *site;
  int skip;
} walk;

/*
 * Stops at the first frame that is in no loaded object: that is code of LuaJIT's compiler, whose frames the unwinder can't be
 * trusted with (it aborts the process on some of them). backtrace(3) would go on.
 */
static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *context, void *argument) {
  walk *walk = argument;
  void *frame = (void *)_Unwind_GetIP(context);
  struct dl_find_object object;
  if (!frame || _dl_find_object((char *)frame - 1, &object))
    return _URC_NORMAL_STOP;
  if (walk->skip > 0) {
    walk->skip--;
    return _URC_NO_REASON;
  }
  walk->site->frames[walk->site->frame_count++] = frame;
  return walk->site->frame_count < SITE_FRAMES ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

void mr_site_here(mr_site *site, const char *what) {
  *site = (mr_site){.place = current_place, .what = what};
  walk walk = {site, OWN_FRAMES};
  _Unwind_Backtrace(walk_frame, &walk);
}

static FILE *out(void) {
  return output ? output : stderr;
}

int mr_trace_output(const char *path) {
  FILE *opened = NULL;
  if (path && !(opened = fopen(path, "we")))
    return -errno;
  mr_trace_lock();
  if (output)
    fclose(output);
  output = opened;
  mr_trace_unlock();
  return 0;
}

int64_t mr_trace_reports(void) {
  return __atomic_load_n(&reports, __ATOMIC_RELAXED);
}

void mr_report_begin(const char *format, ...) {
  __atomic_add_fetch(&reports, 1, __ATOMIC_RELAXED);
  fputs("moonring: iovec trace: ", out());
  va_list arguments;
  va_start(arguments, format);
  vfprintf(out(), format, arguments);
  va_end(arguments);
  fputc('\n', out());
}

void mr_report_line(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(out(), format, arguments);
  va_end(arguments);
  fputc('\n', out());
}

void mr_report_end(void) {
  fflush(out());
}

/* Result: 0 when the frame is Lua's interpreter, which has nothing more to tell below a line of Lua. */
static int print_frame(void *frame, int below_lua) {
  Dl_info info;
  if (!dladdr((char *)frame - 1, &info) || !info.dli_fname) {
    fprintf(out(), " %p", frame);
    return 1;
  }
  const char *file = strrchr(info.dli_fname, '/');
  file = file ? file + 1 : info.dli_fname;
  if (below_lua && !strncmp(file, "libluajit", 9))
    return 0;
  if (info.dli_sname)
    fprintf(out(), " %s+0x%zx", info.dli_sname, (size_t)((char *)frame - (char *)info.dli_saddr));
  else
    fprintf(out(), " %s+0x%zx", file, (size_t)((char *)frame - (char *)info.dli_fbase));
  return 1;
}

void mr_report_site(const char *label, const mr_site *site) {
  fprintf(out(), "  %-13s %s%s%s", label, site->place ? site->place : "in C", site->what ? " by " : "",
          site->what ? site->what : "");
  fputs("\n                C:", out());
  for (int i = 0; i < site->frame_count && print_frame(site->frames[i], site->place != NULL); i++)
    ;
  fputc('\n', out());
}

static int same_place(const mr_site *left, const mr_site *right) {
  if (left->place || right->place)
    return left->place == right->place;
  return left->frame_count == right->frame_count &&
         !memcmp(left->frames, right->frames, (size_t)left->frame_count * sizeof *left->frames);
}

int mr_groups_add(mr_site_groups *groups, const mr_site *site, uint64_t bytes) {
  for (int i = 0; i < groups->count; i++)
    if (same_place(&groups->groups[i].site, site)) {
      groups->groups[i].count++;
      groups->groups[i].bytes += bytes;
      return 0;
    }
  if (groups->count == SITE_GROUPS_MAX) {
    groups->more_count++;
    groups->more_bytes += bytes;
    return 0;
  }
  groups->groups[groups->count++] = (mr_site_group){*site, 1, bytes};
  return 1;
}

void mr_groups_report(const mr_site_groups *groups, const char *label) {
  for (int i = 0; i < groups->count; i++) {
    const mr_site_group *group = &groups->groups[i];
    mr_report_line("  %llu iovec%s, %llu bytes", (unsigned long long)group->count, group->count == 1 ? "" : "s",
                   (unsigned long long)group->bytes);
    mr_report_site(label, &group->site);
  }
  if (groups->more_count)
    mr_report_line("  and %llu iovecs, %llu bytes, of further places", (unsigned long long)groups->more_count,
                   (unsigned long long)groups->more_bytes);
}
