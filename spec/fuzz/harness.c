/*
 * harness.c - libFuzzer over a property in Lua.
 *
 * The C kernels are instrumented; the Lua code above them is not, so what it answers is made to count: each line of the
 * transcript that a property returns, with its digits taken as equal, sets a counter that libFuzzer takes for coverage.
 * MOONRING_FUZZ names the property's file; see scripts/fuzz.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNTERS = 8192 };

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];

static lua_State *L;

static void fail(void) {
  fprintf(stderr, "%s\n", lua_tostring(L, -1));
  abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  const char *property = getenv("MOONRING_FUZZ");
  L = luaL_newstate();
  if (!L || !property) {
    fputs("MOONRING_FUZZ names the file of the property\n", stderr);
    exit(2);
  }
  luaL_openlibs(L);
  if (luaL_dofile(L, property))
    fail();
  return 0;
}

static void count_lines(const char *text, size_t length) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < length; i++) {
    uint8_t byte = (uint8_t)text[i];
    if (byte == '\n') {
      counters[hash % COUNTERS] = 1;
      hash = 2166136261u;
      continue;
    }
    hash = (hash ^ (byte >= '0' && byte <= '9' ? '0' : byte)) * 16777619u;
  }
  counters[hash % COUNTERS] = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  lua_pushvalue(L, -1);
  lua_pushlstring(L, (const char *)data, size);
  if (lua_pcall(L, 1, 1, 0))
    fail();
  size_t length = 0;
  const char *text = lua_tolstring(L, -1, &length);
  if (text)
    count_lines(text, length < 2000 ? length : 2000);
  lua_pop(L, 1);
  return 0;
}
