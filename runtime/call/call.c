/*
 * call.c - system calls as operations: their slots, their way to the ring or to a helper and back, and their memory.
 *
 * A call owns what the kernel uses until its completion: copies of the text, references to iovecs and mappings, the structures that
 * name them. So whoever waits may leave at any moment, and the end of a scope, a release or a cancellation frees nothing
 * under the kernel's hands. A slot goes back once the call has ended and its caller has taken the result or has left.
 *
 * Calls that find the submission queue full wait in a list, and later ones behind them, so that a close never overtakes what was
 * asked of the same descriptor before.
 */
#include "call/call_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

mr_call *mr_call_take(mr_loop *loop) {
  mr_call *call = mr_slots_take(&loop->calls->slots, sizeof *call);
  if (!call)
    return NULL;
  call->state = CALL_RUNNING;
  call->home = loop;
  call->descriptor = call->other_descriptor = -1;
  loop->statistics.calls++;
  return call;
}

/* Lets go of what the kernel or a helper has used. */
static void memory_release(mr_call *call) {
  mr_buffer_release(&call->memory);
  for (uint32_t i = 0; i < call->held_count; i++)
    mr_iovec_drop(&call->held[i]);
  free(call->held);
  free(call->parts);
  free(call->text);
  call->held = NULL;
  call->parts = NULL;
  call->text = NULL;
  call->held_count = 0;
}

static void retire(mr_loop *loop, mr_call *call) {
  memory_release(call);
  free(call->data);
  call->data = NULL;
  call->state = CALL_FREE;
  mr_slots_retire(&loop->calls->slots, &call->slot);
  loop->statistics.calls--;
  loop->calls->let_go -= call->let_go;
  int own[] = {call->descriptor, call->other_descriptor};
  for (int i = 0; i < 2; i++)
    if (own[i] >= 0)
      mr_descriptor_close(loop, own[i]);
}

void mr_call_drop(mr_loop *loop, mr_call *call) {
  retire(loop, call);
}

void mr_calls_recycle(mr_loop *loop) {
  mr_slots_recycle(&loop->calls->slots);
}

int mr_call_copy_text(mr_call *call, const char *first, const char *second, const char **second_copy) {
  size_t first_bytes = strlen(first) + 1, second_bytes = second ? strlen(second) + 1 : 0;
  call->text = malloc(first_bytes + second_bytes);
  if (!call->text)
    return -ENOMEM;
  memcpy(call->text, first, first_bytes);
  if (second) {
    memcpy(call->text + first_bytes, second, second_bytes);
    *second_copy = call->text + first_bytes;
  }
  return 0;
}

int mr_call_take_helped(mr_loop *loop, int fd, const char *path, mr_call **out) {
  mr_call *call = mr_call_take(loop);
  if (!call)
    return -ENOMEM;
  int error = path ? mr_call_copy_text(call, path, NULL, NULL) : 0;
  if (!error && fd >= 0) {
    call->descriptor = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    error = call->descriptor < 0 ? -errno : 0;
  }
  if (error) {
    mr_call_drop(loop, call);
    return error;
  }
  *out = call;
  return 0;
}

int mr_call_reserve_data(mr_call *call, uint32_t bytes) {
  call->data = malloc(bytes);
  call->data_bytes = bytes;
  return call->data ? 0 : -ENOMEM;
}

static void wait_for_room(mr_loop *loop, mr_call *call) {
  mr_calls *calls = loop->calls;
  call->next = NULL;
  if (calls->waiting_first)
    calls->waiting_last->next = call;
  else
    calls->waiting_first = call;
  calls->waiting_last = call;
}

/* Hands a call to the kernel; 0 when there was no room. */
static int hand_over(mr_loop *loop, mr_call *call) {
  if (mr_uring_perform(loop->ring, &call->request, user_data_of(OPERATION_CALL, &call->slot)))
    return 0;
  if (call->state == CALL_WAITING)
    call->state = CALL_RUNNING;
  loop->statistics.operations++;
  return 1;
}

int mr_call_submit(mr_loop *loop, mr_call *call) {
  if (loop->calls->waiting_first || !hand_over(loop, call)) {
    if (call->state == CALL_RUNNING)
      call->state = CALL_WAITING;
    wait_for_room(loop, call);
  }
  return call->slot.number;
}

int mr_call_help(mr_loop *loop, mr_call *call, mr_call_work *work) {
  call->work = work;
  int error = mr_wake_open(loop);
  if (!error)
    error = mr_helpers_add(call);
  if (error) {
    mr_call_drop(loop, call);
    return error;
  }
  loop->calls->helped++;
  loop->statistics.operations++;
  return call->slot.number;
}

/* Asks the kernel to cancel it, now or before the next submission. */
static void cancel(mr_loop *loop, mr_call *call) {
  int refused = mr_uring_cancel_quietly(loop->ring, user_data_of(OPERATION_CALL, &call->slot), 0) != 0;
  loop->calls->cancels_wanted += refused - call->cancel_wanted;
  call->cancel_wanted = (uint8_t)refused;
}

static void cancels_prepare(mr_loop *loop) {
  for (int32_t slot = 0; slot < loop->calls->slots.count && loop->calls->cancels_wanted; slot++) {
    mr_call *call = mr_call_at(loop, slot);
    if (call->cancel_wanted)
      cancel(loop, call);
  }
}

void mr_calls_prepare(mr_loop *loop) {
  mr_calls *calls = loop->calls;
  while (calls->waiting_first) {
    mr_call *call = calls->waiting_first, *next = call->next;
    calls->waiting_first = next; /* before a retiring call may add the close of its descriptor */
    if (call->state == CALL_ABANDONED && !call->let_go) {
      retire(loop, call); /* nothing of it has happened */
    } else if (!hand_over(loop, call)) {
      if (!next)
        calls->waiting_last = call;
      call->next = next;
      calls->waiting_first = call;
      break;
    }
  }
  if (calls->cancels_wanted)
    cancels_prepare(loop);
}

/* The descriptor is that of a FIFO: not seekable is asked first, because that never waits for a file server. */
static int is_fifo(int fd) {
  struct stat status;
  return lseek(fd, 0, SEEK_CUR) < 0 && errno == ESPIPE && fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

/*
 * The next step of an open. The kernel was asked not to wait, because a waiting open holds one of its few threads, and so many
 * of them would stop all other files. Result: 1 when the call has ended with *result, 0 when it goes on.
 */
static int open_go_on(mr_loop *loop, mr_call *call, int32_t *result) {
  mr_uring_request *request = &call->request;
  if (request->operation == MR_URING_POLL) { /* of the FIFO that was opened */
    if (*result >= 0) {
      *result = call->descriptor;
      call->descriptor = -1;
    }
    return 1;
  }
  if (!call->without_waiting || call->state == CALL_ABANDONED || loop->ending)
    return 1;
  call->without_waiting = 0;
  uint32_t flags = request->flags & ~(uint32_t)O_NONBLOCK;
  if (*result == -EAGAIN) { /* a lease is being taken back from its holder, which ends by itself */
    request->flags = flags;
    request->threaded = 1;
  } else if (*result >= 0) {
    fcntl(*result, F_SETFL, flags);
    if ((flags & O_ACCMODE) != O_RDONLY || !is_fifo(*result))
      return 1;
    call->descriptor = *result;
    *request = (mr_uring_request){.operation = MR_URING_POLL, .fd = *result, .flags = POLLIN};
  } else {
    return 1;
  }
  mr_call_submit(loop, call);
  return 0;
}

/* The call has ended, by whomever it was carried out. */
static void end(mr_loop *loop, mr_call *call, int32_t result) {
  if (call->cancel_wanted) {
    call->cancel_wanted = 0;
    loop->calls->cancels_wanted--;
  }
  memory_release(call);
  if (call->state != CALL_ABANDONED) {
    call->state = CALL_ENDED;
    call->result = result;
    mr_event_push(loop, MR_EVENT_CALL, call->slot.number, result);
    return;
  }
  if (call->gives_descriptor && result >= 0)
    call->descriptor = result;
  retire(loop, call);
}

void mr_call_complete(mr_loop *loop, mr_call *call, int32_t result) {
  loop->statistics.operations--;
  if (!call->gives_descriptor || open_go_on(loop, call, &result))
    end(loop, call, result);
}

void mr_calls_collect(mr_loop *loop) {
  mr_calls *calls = loop->calls;
  if (!calls->helped)
    return;
  mr_call *call;
  while (loop->event_count < EVENTS_MAX && (call = mr_helpers_take(loop))) {
    calls->helped--;
    loop->statistics.operations--;
    end(loop, call, call->result);
  }
  calls->more_done = loop->event_count >= EVENTS_MAX && calls->helped;
  if (loop->ending && !calls->helped && loop->wake_armed)
    mr_uring_cancel_quietly(loop->ring, user_data_make(OPERATION_WAKE, 0, 0), 0);
}

int mr_call_result(mr_loop *loop, int slot) {
  const mr_call *call = mr_call_at(loop, slot);
  return call->state == CALL_ENDED ? call->result : -EINPROGRESS;
}

int mr_call_finish(mr_loop *loop, int slot) {
  mr_call *call = mr_call_at(loop, slot);
  if (call->state != CALL_ENDED)
    return -EINPROGRESS;
  int result = call->result;
  retire(loop, call);
  return result;
}

const uint8_t *mr_call_data(mr_loop *loop, int slot) {
  return mr_call_at(loop, slot)->data;
}

static void abandon(mr_loop *loop, mr_call *call) {
  switch ((mr_call_state)call->state) {
  case CALL_FREE:
  case CALL_ABANDONED:
    return;
  case CALL_WAITING:
    call->state = CALL_ABANDONED;
    return;
  case CALL_ENDED:
    if (call->gives_descriptor && call->result >= 0)
      call->descriptor = call->result;
    retire(loop, call);
    return;
  case CALL_RUNNING:
    call->state = CALL_ABANDONED;
    if (!call->work) {
      cancel(loop, call);
    } else if (mr_helpers_remove(call)) {
      loop->calls->helped--;
      loop->statistics.operations--;
      retire(loop, call);
    }
  }
}

void mr_call_abandon(mr_loop *loop, int slot) {
  abandon(loop, mr_call_at(loop, slot));
}

void mr_call_let_go(mr_loop *loop, int slot) {
  mr_call *call = mr_call_at(loop, slot);
  if (call->state == CALL_RUNNING || call->state == CALL_WAITING) {
    call->state = CALL_ABANDONED;
    call->let_go = 1;
    loop->calls->let_go++;
  } else {
    abandon(loop, call);
  }
}

void mr_descriptor_close(mr_loop *loop, int fd) {
  if (!loop->calls->waiting_first && mr_uring_close_quietly(loop->ring, fd, 0) == 0)
    return;
  mr_call *call = mr_call_take(loop);
  if (!call) {
    close(fd);
    return;
  }
  call->request = (mr_uring_request){.operation = MR_URING_CLOSE, .fd = fd};
  call->state = CALL_WAITING;
  wait_for_room(loop, call);
  mr_call_let_go(loop, call->slot.number);
}

void mr_calls_abandon_all(mr_loop *loop) {
  for (int32_t slot = 0; slot < loop->calls->slots.count; slot++)
    mr_call_abandon(loop, slot);
}

int mr_calls_create(mr_loop *loop) {
  loop->calls = calloc(1, sizeof *loop->calls);
  return loop->calls ? 0 : -ENOMEM;
}

void mr_calls_destroy(mr_loop *loop) {
  if (!loop->calls)
    return;
  for (int32_t slot = 0; slot < loop->calls->slots.count; slot++) {
    mr_call *call = mr_call_at(loop, slot);
    if (call->state == CALL_FREE)
      continue;
    memory_release(call); /* it has waited for room in the queue until the end */
    free(call->data);
  }
  mr_slots_destroy(&loop->calls->slots);
  free(loop->calls);
}
