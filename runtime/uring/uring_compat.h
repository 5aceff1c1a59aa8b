/*
 * uring_compat.h - internal: kernel interfaces newer than the headers of liburing 2.3 (kernel 6.1), by their numbers.
 * Each is used only after probing. Structures reuse fields that were reserved then.
 */
#ifndef MR_URING_COMPAT_H
#define MR_URING_COMPAT_H

#include <liburing.h>

#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16) /* 6.6 */
#endif

/* Provided-buffer rings whose buffers are consumed bit by bit (6.12). */
#define MR_PBUF_RING_INC 2          /* io_uring_buf_reg.pad, named flags since */
#define MR_CQE_F_BUF_MORE (1U << 4) /* the buffer will be used again */
#define MR_REGISTER_PBUF_RING 22    /* opcode of io_uring_register(2) */
#define MR_UNREGISTER_PBUF_RING 23

#define MR_OP_READ_MULTISHOT 49 /* reads into provided buffers until the end (6.7) */
#define MR_OP_FTRUNCATE 55      /* 6.9 */

#endif
