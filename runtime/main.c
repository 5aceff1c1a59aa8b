/*
 * main.c - the executable: a Lua state that knows its modules, handed to moonring.cli.
 *
 * The only file that knows the Lua C API. What the arguments mean, how scripts run and how they end is decided in
 * lua/moonring/cli.lua.
 */
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "modules.h"
#include "moonring.h"

/* package.preload's loader for all embedded modules; the upvalue tells which. */
static int load_module(lua_State *L) {
  const mr_module *module = lua_touserdata(L, lua_upvalueindex(1));
  if (luaL_loadbuffer(L, (const char *)module->data, module->size, module->name))
    return lua_error(L);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

/* caller(level): the function at this level of the stack and its current line. Every spawn notes both, see place.lua. */
static int caller(lua_State *L) {
  lua_Debug frame;
  if (!lua_getstack(L, (int)lua_tointeger(L, 1), &frame) || !lua_getinfo(L, "fl", &frame))
    return 0;
  lua_pushinteger(L, frame.currentline);
  return 2;
}

static int load_caller(lua_State *L) {
  lua_pushcfunction(L, caller);
  return 1;
}

/*
 * The watchdog's view into code that doesn't return. Its thread sends this one a signal, the handler sets a hook, which is what
 * LuaJIT's own executable does for SIGINT and all that is allowed there, and the hook calls the Lua function that reports, in the
 * coroutine that runs, at the next instruction that is interpreted. Compiled code has that when it leaves its trace.
 */
enum { WATCH_SIGNAL = SIGURG }; /* ignored by default, so a late one does no harm */

static const char watch_report; /* its address is the key of the function in the registry */
static lua_State *watched;
static struct {
  lua_Hook function;
  int mask, count;
} former_hook; /* the script's own, put back afterwards */

static void hog_found(lua_State *L, lua_Debug *frame) {
  (void)frame;
  lua_sethook(L, former_hook.function, former_hook.mask, former_hook.count);
  lua_pushlightuserdata(L, (void *)&watch_report);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_pcall(L, 0, 0, 0))
    lua_pop(L, 1); /* a report that fails is none of the hog's business */
}

static void interrupt(int signal_number) {
  (void)signal_number;
  if (!watched)
    return;
  lua_Hook hook = lua_gethook(watched);
  if (hook != hog_found) {
    former_hook.function = hook;
    former_hook.mask = lua_gethookmask(watched);
    former_hook.count = lua_gethookcount(watched);
  }
  lua_sethook(watched, hog_found, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* interrupt(report): has report() called inside of what the watchdog finds to hold the loop, see inspect.lua. */
static int watch_interrupt(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_pushlightuserdata(L, (void *)&watch_report);
  lua_pushvalue(L, 1);
  lua_rawset(L, LUA_REGISTRYINDEX);
  struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  if (!sigaction(WATCH_SIGNAL, &action, NULL))
    mr_watch_interrupt(WATCH_SIGNAL);
  return 0;
}

static int load_interrupt(lua_State *L) {
  lua_pushcfunction(L, watch_interrupt);
  return 1;
}

static void register_modules(lua_State *L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  for (const mr_module *module = mr_modules; module->name; module++) {
    lua_pushlightuserdata(L, (void *)module);
    lua_pushcclosure(L, load_module, 1);
    lua_setfield(L, -2, module->name);
  }
  lua_pushcfunction(L, load_caller);
  lua_setfield(L, -2, "moonring.caller");
  lua_pushcfunction(L, load_interrupt);
  lua_setfield(L, -2, "moonring.interrupt");
  lua_pop(L, 2);
}

/* What lua_cpcall runs: everything that may raise. Leaves the exit status in *status. */
typedef struct invocation {
  int argc;
  char **argv;
  int status;
} invocation;

static int run(lua_State *L) {
  invocation *call = lua_touserdata(L, 1);
  luaL_openlibs(L);
  register_modules(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "moonring.cli");
  lua_call(L, 1, 1);
  lua_pushliteral(L, MR_VERSION);
  lua_createtable(L, call->argc, 1);
  for (int i = 0; i < call->argc; i++) {
    lua_pushstring(L, call->argv[i]);
    lua_rawseti(L, -2, i);
  }
  lua_call(L, 2, 1);
  call->status = (int)lua_tointeger(L, -1);
  return 0;
}

int main(int argc, char **argv) {
  mr_standard_secure(); /* before anything is opened */
  mr_signal_survive_writes();
  lua_State *L = luaL_newstate();
  if (!L) {
    fputs("moonring: no memory for a Lua state\n", stderr);
    return EXIT_FAILURE;
  }
  watched = L;
  invocation call = {argc, argv, EXIT_FAILURE};
  if (lua_cpcall(L, run, &call)) {
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "moonring: %s\n", message ? message : "(error object)");
  }
  mr_watch_start(0);
  watched = NULL; /* a signal may still be on its way */
  lua_close(L);
  return call.status;
}
