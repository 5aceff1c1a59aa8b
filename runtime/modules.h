/*
 * modules.h - internal: the Lua modules that the executable carries, as bytecode. The build generates the table.
 */
#ifndef MR_MODULES_H
#define MR_MODULES_H

#include <stddef.h>

typedef struct mr_module {
  const char *name; /* as given to require; NULL ends the table */
  const unsigned char *data;
  size_t size;
} mr_module;

extern const mr_module mr_modules[];

#endif
