/*
 * process.c - child processes in the loop: a poll on the pidfd of each tells its end, and the child is reaped there and then.
 *
 * A slot is in use from the start of the child until it has been reaped and the caller has let go, in either order. Its pidfd is closed
 * with the reaping; as long as it is open the process's number belongs to this child, so signals can go by number where the
 * kernel has no other way (process groups before 6.9).
 *
 * When the loop ends, children that were not detached are told to end, and killed when they don't.
 */
#include "process/process_internal.h"
#include "process/spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GRACE_MAX_SECONDS = 86400 };
static const int64_t retry_delay_ns = 10000000; /* where the poll could not be submitted */
static const int64_t kill_wait_ns = 2000000000; /* SIGKILL works at once, but for a process stuck in a driver */

static mr_process *process_at(const mr_loop *loop, int32_t slot) {
  return mr_slots_at(&loop->processes->slots, slot, sizeof(mr_process));
}

static void settle(mr_loop *loop, mr_process *process) {
  if (process->held || process->pidfd >= 0 || process->polled)
    return;
  mr_slots_retire(&loop->processes->slots, &process->slot);
  loop->statistics.processes--;
}

void mr_processes_recycle(mr_loop *loop) {
  mr_slots_recycle(&loop->processes->slots);
}

static void timer_stop(mr_loop *loop, mr_process *process) {
  if (process->timer >= 0)
    mr_timers_stop(loop, process->timer);
  process->timer = -1;
}

/* Watches for its end. Where the submission queue has no room, a little later. */
static void watch(mr_loop *loop, mr_process *process) {
  if (process->pidfd < 0 || process->polled)
    return;
  if (mr_uring_poll(loop->ring, process->pidfd, POLLIN, user_data_of(OPERATION_PROCESS, &process->slot)) == 0) {
    process->polled = 1;
    loop->statistics.operations++;
  } else if (process->timer < 0) {
    process->timer = mr_timers_start(loop, retry_delay_ns, TIMER_PROCESS, process->slot.number);
  }
}

int mr_process_spawn(mr_loop *loop, mr_spawn *spawn) {
  spawn->failed_step = MR_SPAWN_PREPARE;
  mr_process *process = mr_slots_take(&loop->processes->slots, sizeof *process);
  if (!process)
    return -ENOMEM;
  process->pidfd = process->timer = -1;
  int pid = mr_spawn_start(spawn, &process->pidfd);
  if (pid < 0) {
    process->pidfd = -1;
    mr_slots_give(&loop->processes->slots, &process->slot);
    return pid;
  }
  process->pid = pid;
  process->held = 1;
  process->leads = spawn->session || spawn->process_group == 0;
  loop->statistics.processes++;
  loop->statistics.spawned++;
  watch(loop, process);
  return process->slot.number;
}

int mr_process_pid(mr_loop *loop, int slot) {
  return process_at(loop, slot)->pid;
}

static int send_signal(const mr_process *process, int number, int whole_group) {
  if (process->pidfd < 0)
    return -ESRCH;
  /* The number is the child's until it is reaped, which nobody but this loop does, so it can't have gone to another. */
  if (whole_group)
    return kill(-process->pid, number) ? -errno : 0;
  return syscall(SYS_pidfd_send_signal, process->pidfd, number, NULL, 0) ? -errno : 0;
}

int mr_process_signal(mr_loop *loop, int slot, int number, int whole_group) {
  const mr_process *process = process_at(loop, slot);
  if (number < 0 || number >= NSIG || (whole_group && !process->leads))
    return -EINVAL;
  return send_signal(process, number, whole_group);
}

int mr_process_status_get(mr_loop *loop, int slot, mr_process_status *out) {
  const mr_process *process = process_at(loop, slot);
  if (process->pidfd >= 0)
    return -EAGAIN;
  *out = process->status;
  return 0;
}

void mr_process_end(mr_loop *loop, int slot, double grace) {
  mr_process *process = process_at(loop, slot);
  if (process->pidfd < 0)
    return;
  process->ending = 1;
  timer_stop(loop, process);
  if (grace > 0) {
    if (grace > GRACE_MAX_SECONDS)
      grace = GRACE_MAX_SECONDS;
    send_signal(process, SIGTERM, process->leads);
    process->timer = mr_timers_start(loop, (int64_t)(grace * 1e9), TIMER_PROCESS, slot);
    /* A stopped process would sleep on over its SIGTERM. */
    send_signal(process, SIGCONT, process->leads);
  }
  if (process->timer < 0)
    send_signal(process, SIGKILL, process->leads);
}

void mr_process_expired(mr_loop *loop, int32_t slot) {
  mr_process *process = process_at(loop, slot);
  process->timer = -1;
  if (process->ending)
    send_signal(process, SIGKILL, process->leads);
  watch(loop, process);
}

void mr_process_detach(mr_loop *loop, int slot) {
  process_at(loop, slot)->detached = 1;
}

void mr_process_release(mr_loop *loop, int slot) {
  mr_process *process = process_at(loop, slot);
  process->held = 0;
  settle(loop, process);
}

static double seconds_of(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

/* Takes the child's status if it has ended. Stops and continuations are not ends. */
static void reap(mr_process *process) {
  siginfo_t info = {0};
  struct rusage usage = {0};
  if (process->leads && process->ending) {
    /* Who is left of the group has lost its leader and its time is over; after the reaping its number could be another's. */
    if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
      kill(-process->pid, SIGKILL);
    info = (siginfo_t){0};
  }
  long result;
  do
    result = syscall(SYS_waitid, P_PIDFD, process->pidfd, &info, WEXITED | WNOHANG, &usage);
  while (result < 0 && errno == EINTR);
  if (result == 0 && info.si_pid == 0)
    return;
  mr_process_status *status = &process->status;
  *status = (mr_process_status){.code = -1, .lost = result < 0};
  if (result == 0 && info.si_code == CLD_EXITED)
    status->code = info.si_status;
  else if (result == 0)
    status->signal = info.si_status;
  status->core_dumped = result == 0 && info.si_code == CLD_DUMPED;
  status->user_seconds = seconds_of(usage.ru_utime);
  status->system_seconds = seconds_of(usage.ru_stime);
  status->memory_peak = (double)usage.ru_maxrss * 1024;
  close(process->pidfd);
  process->pidfd = -1;
}

void mr_process_complete(mr_loop *loop, int32_t slot, const mr_completion *done) {
  mr_process *process = process_at(loop, slot);
  if (!generation_matches(done->user_data, process->slot.generation)) {
    loop->statistics.stale++;
    return;
  }
  process->polled = 0;
  loop->statistics.operations--;
  reap(process);
  if (process->pidfd >= 0) {
    if (!loop->processes->closing)
      watch(loop, process);
    return;
  }
  timer_stop(loop, process);
  if (process->held)
    mr_event_push(loop, MR_EVENT_PROCESS, slot, 0);
  settle(loop, process);
}

/* Sends what still runs a signal. Result: how many there are. */
static int signal_all(mr_loop *loop, int number) {
  int running = 0;
  for (int32_t slot = 0; slot < loop->processes->slots.count; slot++) {
    mr_process *process = process_at(loop, slot);
    if (process->pidfd < 0 || process->detached)
      continue;
    running++;
    process->ending = 1;
    timer_stop(loop, process);
    watch(loop, process);
    send_signal(process, number, process->leads);
    if (number == SIGTERM)
      send_signal(process, SIGCONT, process->leads);
  }
  return running;
}

static int any_running(mr_loop *loop) {
  for (int32_t slot = 0; slot < loop->processes->slots.count; slot++)
    if (process_at(loop, slot)->pidfd >= 0 && !process_at(loop, slot)->detached)
      return 1;
  return 0;
}

void mr_processes_end(mr_loop *loop, int64_t grace_ns, int (*wait)(mr_loop *loop, int64_t until)) {
  if (!signal_all(loop, SIGTERM))
    return;
  int64_t end = loop->now + grace_ns;
  while (any_running(loop) && loop->now < end && wait(loop, end) == 0)
    ;
  if (!signal_all(loop, SIGKILL))
    return;
  end = loop->now + kill_wait_ns;
  while (any_running(loop) && loop->now < end && wait(loop, end) == 0)
    ;
}

void mr_processes_close(mr_loop *loop) {
  loop->processes->closing = 1;
}

int mr_processes_create(mr_loop *loop) {
  loop->processes = calloc(1, sizeof *loop->processes);
  return loop->processes ? 0 : -ENOMEM;
}

void mr_processes_destroy(mr_loop *loop) {
  mr_processes *processes = loop->processes;
  if (!processes)
    return;
  for (int32_t slot = 0; slot < processes->slots.count; slot++)
    if (process_at(loop, slot)->pidfd >= 0)
      close(process_at(loop, slot)->pidfd);
  mr_slots_destroy(&processes->slots);
  free(processes);
}
