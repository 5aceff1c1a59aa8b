/*
 * socket_internal.h - what makes and names sockets, as the kinds of socket use it: address.c, option.c, bind.c.
 */
#ifndef MR_SOCKET_INTERNAL_H
#define MR_SOCKET_INTERNAL_H

#include "socket/address.h"
#include "socket/bind.h"

#include <netinet/in.h>
#include <sys/types.h>
#include <sys/un.h>

typedef union mr_socket_name {
  struct sockaddr any;
  struct sockaddr_in ipv4;
  struct sockaddr_in6 ipv6;
  struct sockaddr_un local;
} mr_socket_name;

/* A Unix socket's file, known again by its inode. */
typedef struct mr_bound_file {
  dev_t device;
  ino_t inode;
  char path[MR_ADDRESS_PATH_BYTES];
} mr_bound_file;

/* address.c */
socklen_t mr_address_to_socket(const mr_address *address, mr_socket_name *out); /* 0: unknown family */
int mr_address_from_socket(const mr_socket_name *name, socklen_t length, mr_address *out);
int mr_address_of_socket(int fd, mr_address *out); /* getsockname(2), getpeername(2): 0 or negative errno */
int mr_address_of_peer(int fd, mr_address *out);

/* option.c: `connects` tells a socket that connects from one that listens */
int mr_option_set(int fd, int option, int32_t value, int connects);
int mr_option_get(int fd, int option, int32_t *value, int connects);
int mr_options_set(int fd, mr_option *options, int count, int connects); /* stops at the first that fails */

/* bind.c */
int mr_bound_open(const mr_address *address, const mr_listen *how, mr_bound_file **file); /* a listening descriptor */
/* Notes the file that binding to a path has made, so that no other is removed; for other addresses *file is NULL. */
int mr_bound_file_note(const mr_address *address, uint32_t mode, mr_bound_file **file);
void mr_bound_file_remove(mr_bound_file **file);
#endif
