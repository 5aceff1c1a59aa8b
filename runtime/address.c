/*
 * address.c - socket addresses as Lua sees them, and as the kernel does.
 */
#include "loop_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mr_address_parse(const char *text, int32_t port, mr_address *out) {
  *out = (mr_address){.port = port};
  if (port < 0 || port > 65535)
    return -EINVAL;
  if (inet_pton(AF_INET, text, out->bytes) == 1) {
    out->family = AF_INET;
    return 0;
  }
  char copy[MR_ADDRESS_TEXT_BYTES];
  if (strlen(text) >= sizeof copy)
    return -EINVAL;
  strcpy(copy, text);
  char *zone = strchr(copy, '%');
  if (zone) {
    *zone++ = '\0';
    out->scope = if_nametoindex(zone);
    if (!out->scope)
      out->scope = (uint32_t)strtoul(zone, NULL, 10);
    if (!out->scope)
      return -EINVAL;
  }
  if (inet_pton(AF_INET6, copy, out->bytes) != 1)
    return -EINVAL;
  out->family = AF_INET6;
  return 0;
}

int mr_address_format(const mr_address *address, char *text) {
  if (!inet_ntop(address->family, address->bytes, text, MR_ADDRESS_TEXT_BYTES))
    return -EINVAL;
  if (address->family == AF_INET6 && address->scope) {
    size_t length = strlen(text);
    snprintf(text + length, MR_ADDRESS_TEXT_BYTES - length, "%%%u", address->scope);
  }
  return 0;
}

socklen_t mr_address_to_socket(const mr_address *address, struct sockaddr_in6 *out) {
  memset(out, 0, sizeof *out);
  if (address->family == AF_INET) {
    struct sockaddr_in *name = (struct sockaddr_in *)out;
    name->sin_family = AF_INET;
    name->sin_port = htons((uint16_t)address->port);
    memcpy(&name->sin_addr, address->bytes, sizeof name->sin_addr);
    return sizeof *name;
  }
  if (address->family == AF_INET6) {
    out->sin6_family = AF_INET6;
    out->sin6_port = htons((uint16_t)address->port);
    out->sin6_scope_id = address->scope;
    memcpy(&out->sin6_addr, address->bytes, sizeof out->sin6_addr);
    return sizeof *out;
  }
  return 0;
}

int mr_address_from_socket(const struct sockaddr *socket, mr_address *out) {
  *out = (mr_address){.family = socket->sa_family};
  if (socket->sa_family == AF_INET) {
    const struct sockaddr_in *name = (const struct sockaddr_in *)socket;
    out->port = ntohs(name->sin_port);
    memcpy(out->bytes, &name->sin_addr, sizeof name->sin_addr);
    return 0;
  }
  if (socket->sa_family == AF_INET6) {
    const struct sockaddr_in6 *name = (const struct sockaddr_in6 *)socket;
    out->port = ntohs(name->sin6_port);
    out->scope = name->sin6_scope_id;
    memcpy(out->bytes, &name->sin6_addr, sizeof name->sin6_addr);
    return 0;
  }
  return -EAFNOSUPPORT;
}
