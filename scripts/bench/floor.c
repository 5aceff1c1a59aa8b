// floor: the least CPU that this kernel needs for a request, as the yardstick of the comparison.
//
//   floor http PORT    answers every "\r\n\r\n" with one fixed response; nothing else of the request is looked at
//   floor echo PORT    sends back what it receives
//
// One thread, one ring, no allocation per request. Accept and recv are multishot, buffers come from one provided-buffer
// ring, and each turn of the loop is one io_uring_enter that submits what the last turn decided and waits for the next
// completions. It listens on 127.0.0.1 only, and knows nothing of request bodies: a yardstick, not a server.
//
// Sends go two ways, at most one at a time per connection:
//   - quick: MSG_DONTWAIT | MSG_WAITALL with CQE_SKIP_SUCCESS. It runs to its end while it is submitted, and only one
//     that the socket did not take whole posts a completion. So when enter returns, every quick send without a
//     completion is over, nothing was in flight in between, and its memory is free again.
//   - patient: MSG_WAITALL, waits in the kernel for room. It takes over what a quick send left.
// The measured alternatives and what they cost are in docs/performance.md.

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

// The same bytes as examples/http_hello.lua sends, with a Date that stands still.
static const char RESPONSE[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: text/plain; charset=utf-8\r\n"
                               "Content-Length: 13\r\n"
                               "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                               "\r\n"
                               "Hello, World!";

enum {
  RESPONSE_SIZE = sizeof RESPONSE - 1,
  PAGE_RESPONSES = 128,      // the most pipelined requests that one send answers
  MAX_CONNECTIONS = 65536,   // descriptors are indices of the connection table
  BUFFER_COUNT = 1024,       // a power of two; 256 to 4096 cost the same
  BUFFER_SIZE = 2048,        // bytes; longer input takes several
  BACKLOG_SIZE = 256 * 1024, // bytes of echo that a peer may leave unread before it is dropped
  TURN_COMPLETIONS = 512,    // completions handled per turn; each queues at most 3 entries
  SQ_ENTRIES = 2048,         // so a turn never fills the submission queue
  CQ_ENTRIES = 16384,        // an overflow ends every multishot operation
  LISTEN_BACKLOG = 4096,
};

enum kind { IGNORED, ACCEPT, RECEIVE, QUICK_SEND, PATIENT_SEND };

struct connection {
  const char *output;   // what the peer is owed: http, a place in the response page; echo, a receive buffer or backlog
  size_t output_length; // bytes
  const char *sent;     // the send last queued
  uint32_t sent_length;
  char *backlog;      // echo: BACKLOG_SIZE bytes, allocated for the first output that outlives its receive buffer
  uint8_t head_match; // http: how many bytes of "\r\n\r\n" the received bytes end with
  bool receiving;     // a recv is armed
  bool sending;       // a patient send is in flight
  bool refused;       // a quick send was not taken whole: the next one is patient
  bool closing;       // nothing more is received; closed once the output is out
  bool queued;        // in the list of this turn's senders
};

static struct io_uring ring;
static bool is_echo;
static int listener;
static bool accept_parked; // accept ended with an error (out of descriptors); armed again by the next close
static struct connection connections[MAX_CONNECTIONS];
static char response_page[RESPONSE_SIZE * PAGE_RESPONSES];

static int senders[2 * TURN_COMPLETIONS]; // connections to look at when the turn ends: one per completion and refusal
static unsigned sender_count;

static struct io_uring_buf_ring *buffer_ring;
static char *buffers;
static uint16_t lent[2][TURN_COMPLETIONS]; // buffers received into in this turn and in the one before
static unsigned lent_count[2];

static void fail(const char *what, int error) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(error < 0 ? -error : error));
  exit(1);
}

static struct io_uring_sqe *queue(enum kind kind, int opcode, int fd, const void *address, unsigned length) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
  if (!sqe)
    fail("the submission queue is full, SQ_ENTRIES is too small", ENOBUFS);
  io_uring_prep_rw(opcode, sqe, fd, address, length, 0);
  sqe->user_data = (uint64_t)kind << 32 | (uint32_t)fd;
  return sqe;
}

static void arm_accept(void) {
  struct io_uring_sqe *sqe = queue(ACCEPT, IORING_OP_ACCEPT, listener, NULL, 0);
  sqe->ioprio = IORING_ACCEPT_MULTISHOT;
  sqe->accept_flags = SOCK_CLOEXEC;
}

static void arm_receive(int fd) {
  struct io_uring_sqe *sqe = queue(RECEIVE, IORING_OP_RECV, fd, NULL, 0);
  sqe->ioprio = IORING_RECV_MULTISHOT;
  sqe->flags = IOSQE_BUFFER_SELECT;
  connections[fd].receiving = true;
}

// Puts a connection on the list of those that send, or close, when the turn ends.
static void queue_sender(int fd) {
  if (!connections[fd].queued)
    senders[sender_count++] = fd;
  connections[fd].queued = true;
}

// The peer is gone or misbehaves. An armed recv sees the shutdown as its end of stream, which leads to the close.
static void drop(int fd) {
  struct connection *c = &connections[fd];
  c->output_length = 0;
  c->closing = true;
  if (c->receiving)
    shutdown(fd, SHUT_RDWR);
}

// ---- output

// Echo: moves the output out of its receive buffer (which the kernel gets back) to the start of the backlog.
static bool keep_output(struct connection *c) {
  if (!c->backlog && !(c->backlog = malloc(BACKLOG_SIZE)))
    return false;
  memmove(c->backlog, c->output, c->output_length);
  c->output = c->backlog;
  return true;
}

static bool is_kept(const struct connection *c) {
  return c->backlog && c->output >= c->backlog && c->output < c->backlog + BACKLOG_SIZE;
}

static void consume_output(struct connection *c, size_t length) {
  c->output += length;
  c->output_length -= length;
  if (!is_echo)
    c->output = response_page + (c->output - response_page) % RESPONSE_SIZE; // the page repeats
}

static void append_echo(int fd, const char *data, size_t length) {
  struct connection *c = &connections[fd];
  if (c->output_length == 0 && !c->sending) {
    c->output = data;
    c->output_length = length;
    return;
  }
  // What a patient send is reading must stay where it is.
  bool fits = c->sending || keep_output(c);
  if (!fits || c->output + c->output_length + length > c->backlog + BACKLOG_SIZE) {
    drop(fd);
    return;
  }
  memcpy((char *)c->output + c->output_length, data, length);
  c->output_length += length;
}

static void close_connection(int fd) {
  struct connection *c = &connections[fd];
  queue(IGNORED, IORING_OP_CLOSE, fd, NULL, 0)->flags = IOSQE_CQE_SKIP_SUCCESS;
  free(c->backlog);
  memset(c, 0, sizeof *c);
  if (accept_parked)
    arm_accept();
  accept_parked = false;
}

// Queues the send of what the connection owes, or its close when it owes nothing. Called once per connection and turn.
static void flush(int fd) {
  struct connection *c = &connections[fd];
  c->queued = false;
  if (c->sending)
    return;
  size_t room = is_echo ? c->output_length : (size_t)(response_page + sizeof response_page - c->output);
  bool whole = c->output_length <= room;
  bool quick = whole && !c->refused && !c->closing; // the close must not overtake a refusal
  bool must_keep = is_echo && c->output_length > 0 && !quick && !is_kept(c);
  if (must_keep && !keep_output(c))
    drop(fd);
  if (c->output_length == 0) {
    if (c->closing && !c->receiving)
      close_connection(fd);
    return;
  }
  c->sent = c->output;
  c->sent_length = whole ? c->output_length : room;
  struct io_uring_sqe *sqe = queue(quick ? QUICK_SEND : PATIENT_SEND, IORING_OP_SEND, fd, c->sent, c->sent_length);
  sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
  if (quick) {
    sqe->msg_flags |= MSG_DONTWAIT;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    consume_output(c, c->sent_length);
  } else {
    c->sending = true;
  }
}

// A quick send that the socket did not take whole: what it left becomes output again, for a patient send.
static void on_refused(int fd, int result) {
  struct connection *c = &connections[fd];
  if (result < 0 && result != -EAGAIN) {
    drop(fd);
  } else {
    size_t done = result < 0 ? 0 : result;
    c->output = c->sent + done;
    c->output_length += c->sent_length - done; // nothing was appended since: refusals are handled first
    c->refused = true;
  }
  queue_sender(fd);
}

static void on_sent(int fd, int result) {
  struct connection *c = &connections[fd];
  c->sending = false;
  c->refused = false;
  if (result < 0)
    drop(fd);
  else if (c->output_length > 0)
    consume_output(c, result);
  queue_sender(fd);
}

// ---- input

// Counts the request ends in data. The byte 3 ahead tells how far to skip; an end cut by a receive is matched bytewise.
static unsigned count_heads(struct connection *c, const char *data, int length) {
  static const char end[4] = "\r\n\r\n";
  unsigned heads = 0, match = c->head_match;
  int i = 0;
  while (i < length) {
    if (match == 0 && i + 4 <= length) {
      char last = data[i + 3];
      if (last != '\r' && last != '\n') {
        i += 4;
      } else if (memcmp(data + i, end, 4) == 0) {
        heads++;
        i += 4;
      } else {
        i += last == '\n' ? 2 : 1; // the last two, or three, may begin an end
      }
      continue;
    }
    char byte = data[i++];
    match = byte == end[match] ? match + 1 : byte == '\r' ? 1 : 0;
    if (match == 4) {
      heads++;
      match = 0;
    }
  }
  c->head_match = match;
  return heads;
}

static void on_received(int fd, const struct io_uring_cqe *cqe) {
  struct connection *c = &connections[fd];
  if (!(cqe->flags & IORING_CQE_F_MORE))
    c->receiving = false;
  const char *data = NULL;
  if (cqe->flags & IORING_CQE_F_BUFFER) {
    uint16_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    lent[0][lent_count[0]++] = id;
    data = buffers + (size_t)id * BUFFER_SIZE;
  }
  if (cqe->res > 0 && data && !c->closing) {
    if (is_echo)
      append_echo(fd, data, cqe->res);
    else
      c->output_length += (size_t)count_heads(c, data, cqe->res) * RESPONSE_SIZE;
    if (c->output_length > 0)
      queue_sender(fd);
  } else if (cqe->res == 0) {
    c->closing = true;
  } else if (cqe->res < 0 && cqe->res != -ENOBUFS) {
    drop(fd);
  }
  if (c->receiving)
    return;
  if (c->closing)
    queue_sender(fd);
  else
    arm_receive(fd); // out of buffers, or an overflow: the bytes wait in the socket
}

static void on_accepted(int result, unsigned flags) {
  bool armed = flags & IORING_CQE_F_MORE;
  if (result >= MAX_CONNECTIONS) {
    close(result);
  } else if (result >= 0) {
    connections[result] = (struct connection){.output = response_page};
    arm_receive(result);
  } else if (result == -EMFILE || result == -ENFILE || result == -ENOMEM) {
    accept_parked = !armed;
    return;
  } // else that one connection was gone before it was accepted
  if (!armed)
    arm_accept();
}

// ---- the loop

static void give_buffer(uint16_t id, int offset) {
  io_uring_buf_ring_add(buffer_ring, buffers + (size_t)id * BUFFER_SIZE, BUFFER_SIZE, id,
                        io_uring_buf_ring_mask(BUFFER_COUNT), offset);
}

// Gives back the buffers of the turn before: whatever was sent from them has left, or was kept, by now.
static void return_buffers(void) {
  for (unsigned i = 0; i < lent_count[1]; i++)
    give_buffer(lent[1][i], i);
  io_uring_buf_ring_advance(buffer_ring, lent_count[1]);
  memcpy(lent[1], lent[0], lent_count[0] * sizeof lent[0][0]);
  lent_count[1] = lent_count[0];
  lent_count[0] = 0;
}

static void turn(void) {
  int result = io_uring_submit_and_wait(&ring, 1);
  if (result == -EINTR || result == -EAGAIN)
    return;
  if (result < 0)
    fail("io_uring_enter", result);

  unsigned head, ready = 0, handled = 0;
  struct io_uring_cqe *cqe;
  // Refusals first: what they left goes before anything that the same connection received in this turn.
  io_uring_for_each_cqe(&ring, head, cqe) {
    ready++;
    if (cqe->user_data >> 32 != QUICK_SEND)
      continue;
    on_refused((int)cqe->user_data, cqe->res);
    cqe->user_data = 0;
  }
  if (ready > TURN_COMPLETIONS)
    ready = TURN_COMPLETIONS;
  io_uring_for_each_cqe(&ring, head, cqe) {
    if (handled == ready)
      break;
    handled++;
    int fd = (int)cqe->user_data;
    switch ((enum kind)(cqe->user_data >> 32)) {
    case RECEIVE:
      on_received(fd, cqe);
      break;
    case PATIENT_SEND:
      on_sent(fd, cqe->res);
      break;
    case ACCEPT:
      on_accepted(cqe->res, cqe->flags);
      break;
    case QUICK_SEND:
    case IGNORED:
      break;
    }
  }
  io_uring_cq_advance(&ring, handled);

  for (unsigned i = 0; i < sender_count; i++)
    flush(senders[i]);
  sender_count = 0;
  return_buffers();
}

static void set_up_ring(void) {
  struct io_uring_params parameters = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
      .cq_entries = CQ_ENTRIES,
  };
  int result = io_uring_queue_init_params(SQ_ENTRIES, &ring, &parameters);
  if (result < 0)
    fail("io_uring_setup (needs Linux 6.1 and no seccomp profile that forbids io_uring)", result);
  io_uring_register_ring_fd(&ring); // an optimisation only

  size_t ring_size = BUFFER_COUNT * sizeof(struct io_uring_buf), size = (size_t)BUFFER_COUNT * BUFFER_SIZE;
  char *memory = mmap(NULL, ring_size + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    fail("mmap of the receive buffers", errno);
  buffer_ring = (struct io_uring_buf_ring *)memory;
  buffers = memory + ring_size;
  struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)buffer_ring, .ring_entries = BUFFER_COUNT};
  result = io_uring_register_buf_ring(&ring, &registration, 0);
  if (result < 0)
    fail("registration of the buffer ring", result);
  io_uring_buf_ring_init(buffer_ring);
  for (unsigned id = 0; id < BUFFER_COUNT; id++)
    give_buffer(id, id);
  io_uring_buf_ring_advance(buffer_ring, BUFFER_COUNT);
}

static void set_up_listener(int port) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  int on = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0)
    fail("socket", errno);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // accepted sockets inherit it
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
    fail("bind", errno);
  if (listen(listener, LISTEN_BACKLOG) < 0)
    fail("listen", errno);
}

int main(int count, char **arguments) {
  int port = count == 3 ? atoi(arguments[2]) : 0;
  is_echo = count == 3 && strcmp(arguments[1], "echo") == 0;
  if (port < 1 || port > 65535 || (!is_echo && strcmp(arguments[1], "http") != 0)) {
    fprintf(stderr, "usage: floor http|echo PORT\n");
    return 2;
  }
  for (int i = 0; i < PAGE_RESPONSES; i++)
    memcpy(response_page + i * RESPONSE_SIZE, RESPONSE, RESPONSE_SIZE);
  set_up_ring();
  set_up_listener(port);
  arm_accept();
  for (;;)
    turn();
}
