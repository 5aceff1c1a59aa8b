/*
 * main.c - the executable: a Lua state that knows its modules, handed to moonring.cli.
 *
 * The only file that knows the Lua C API. What the arguments mean, how scripts run and how they end is decided in
 * lua/moonring/cli.lua.
 */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Where the function is kept that a signal interrupts Lua code with. */
static const char computing_key[] = "moonring.computing";
static lua_State *computing; /* any state of the one that runs: hooks are global in LuaJIT */

enum { INTERRUPT_INSTRUCTIONS = 1000 };

/* Asks the function; it raises what stops the code that runs here, or tells whether it wants to be asked again. */
static void ask_computing(lua_State *L, lua_Debug *frame) {
  (void)frame;
  lua_sethook(L, NULL, 0, 0);
  if (!lua_checkstack(L, LUA_MINSTACK))
    return;
  lua_getfield(L, LUA_REGISTRYINDEX, computing_key);
  if (!lua_isfunction(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  lua_call(L, 0, 1);
  int again = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (again)
    lua_sethook(L, ask_computing, LUA_MASKCOUNT, INTERRUPT_INSTRUCTIONS);
}

/* The one thing of Lua's that a signal handler may call. */
static void stop_computing(void) {
  lua_sethook(computing, ask_computing, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* computing(fn): from now on SIGINT, where the loop watches it, also has fn called within the code that runs; nil ends that. */
static int set_computing(lua_State *L) {
  lua_settop(L, 1);
  int enable = lua_isfunction(L, 1);
  mr_signal_interrupt(SIGINT, enable ? stop_computing : NULL);
  lua_setfield(L, LUA_REGISTRYINDEX, computing_key);
  if (!enable)
    lua_sethook(L, NULL, 0, 0);
  return 0;
}

static int load_computing(lua_State *L) {
  lua_pushcfunction(L, set_computing);
  return 1;
}

/* replace(arguments): becomes a new run of this program; arguments as argv, from 0 on. Returns only by an error. */
static int replace(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  int count = (int)lua_objlen(L, 1) + 1;
  char **argv = lua_newuserdata(L, ((size_t)count + 1) * sizeof *argv);
  luaL_checkstack(L, count, "arguments");
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, 1, i);
    argv[i] = (char *)luaL_checkstring(L, -1); /* on the stack, and so alive */
  }
  argv[count] = NULL;
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length > 0) {
    path[length] = 0;
    execv(path, argv);
  }
  return luaL_error(L, "cannot start again: %s", strerror(errno));
}

static int load_replace(lua_State *L) {
  lua_pushcfunction(L, replace);
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
  lua_pushcfunction(L, load_computing);
  lua_setfield(L, -2, "moonring.computing");
  lua_pushcfunction(L, load_replace);
  lua_setfield(L, -2, "moonring.replace");
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
  computing = L;
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
  mr_signal_interrupt(SIGINT, NULL);
  return 0;
}

int main(int argc, char **argv) {
  mr_signal_survive_pipe();
  lua_State *L = luaL_newstate();
  if (!L) {
    fputs("moonring: no memory for a Lua state\n", stderr);
    return EXIT_FAILURE;
  }
  invocation call = {argc, argv, EXIT_FAILURE};
  if (lua_cpcall(L, run, &call)) {
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "moonring: %s\n", message ? message : "(error object)");
  }
  lua_close(L);
  return call.status;
}
