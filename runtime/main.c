/*
 * main.c - the executable: a Lua state that knows its modules, handed to moonring.cli.
 *
 * The only file that knows the Lua C API. What the arguments mean, how scripts run and how they end is decided in
 * lua/moonring/cli/init.lua.
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

/*
 * Ways into code that doesn't return: the watchdog's, whose thread sends this one a signal, and the keyboard's, Ctrl-C at a REPL. The
 * handler sets a hook, which is what LuaJIT's own executable does for SIGINT and all that is allowed there, and the hook calls the
 * Lua function that wants to know, in the coroutine that runs, at the next instruction that is interpreted. Compiled code has that when
 * it leaves its trace. A hook of the script's own is put back before.
 */
enum { WATCH_SIGNAL = SIGURG }; /* ignored by default, so a late one does no harm */
enum { ASK_AGAIN_INSTRUCTIONS = 1000 };

typedef enum reason { WATCHDOG, KEYBOARD, REASON_COUNT } reason;

static const char *const reason_names[] = {"watchdog", "keyboard", NULL};
static const char reason_keys[REASON_COUNT]; /* their addresses are the keys of the functions in the registry */
static volatile sig_atomic_t asked[REASON_COUNT];
static lua_State *interrupted; /* any state of the one that runs: hooks are global in LuaJIT */
static struct {
  lua_Hook function;
  int mask, count;
} former_hook; /* the script's own */

/* Calls the function of a reason, if there is one. It may raise. Result: whether it wants to be asked again. */
static int ask(lua_State *L, reason why) {
  if (!lua_checkstack(L, LUA_MINSTACK))
    return 0;
  lua_pushlightuserdata(L, (void *)&reason_keys[why]);
  lua_rawget(L, LUA_REGISTRYINDEX);
  int again = 0;
  if (lua_isfunction(L, -1)) {
    lua_call(L, 0, 1);
    again = lua_toboolean(L, -1);
  }
  lua_pop(L, 1);
  return again;
}

static void set_hook(lua_State *L, int mask, int count);

static void look_inside(lua_State *L, lua_Debug *frame) {
  (void)frame;
  lua_sethook(L, former_hook.function, former_hook.mask, former_hook.count);
  int again = 0;
  for (reason why = 0; why < REASON_COUNT; why++)
    if (asked[why]) {
      asked[why] = 0;
      if (ask(L, why))
        again = asked[why] = 1;
    }
  if (again)
    set_hook(L, LUA_MASKCOUNT, ASK_AGAIN_INSTRUCTIONS);
}

static void set_hook(lua_State *L, int mask, int count) {
  lua_Hook hook = lua_gethook(L);
  if (hook != look_inside) {
    former_hook.function = hook;
    former_hook.mask = lua_gethookmask(L);
    former_hook.count = lua_gethookcount(L);
  }
  lua_sethook(L, look_inside, mask, count);
}

/* The one thing of Lua's that a signal handler may do. */
static void interrupt(reason why) {
  if (!interrupted)
    return;
  asked[why] = 1;
  set_hook(interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static void watchdog_signal(int number) {
  (void)number;
  interrupt(WATCHDOG);
}

static void keyboard_signal(void) {
  interrupt(KEYBOARD);
}

/*
 * interrupt(reason, fn): has fn called inside of the code that runs: for "watchdog" when that is found to hold the loop (inspect.lua),
 * for "keyboard" by each SIGINT that the loop watches. fn may raise; when it returns true it is called again soon. nil ends it.
 */
static int set_interrupt(lua_State *L) {
  reason why = (reason)luaL_checkoption(L, 1, NULL, reason_names);
  lua_settop(L, 2);
  int enable = lua_isfunction(L, 2);
  lua_pushlightuserdata(L, (void *)&reason_keys[why]);
  lua_insert(L, 2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  if (why == KEYBOARD) {
    mr_signal_interrupt(SIGINT, enable ? keyboard_signal : NULL);
    return 0;
  }
  struct sigaction action = {.sa_handler = enable ? watchdog_signal : SIG_DFL, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  if (!sigaction(WATCH_SIGNAL, &action, NULL))
    mr_watch_interrupt(enable ? WATCH_SIGNAL : 0);
  return 0;
}

static int load_interrupt(lua_State *L) {
  lua_pushcfunction(L, set_interrupt);
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
  lua_pushcfunction(L, load_interrupt);
  lua_setfield(L, -2, "moonring.interrupt");
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
  interrupted = L;
  invocation call = {argc, argv, EXIT_FAILURE};
  if (lua_cpcall(L, run, &call)) {
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "moonring: %s\n", message ? message : "(error object)");
  }
  mr_watch_start(0);
  mr_signal_interrupt(SIGINT, NULL);
  interrupted = NULL; /* a signal may still be on its way */
  lua_close(L);
  return call.status;
}
