/*
 * scan.h - scanning kernels: the few loops over bytes that are faster in C than in compiled Lua.
 *
 * They find, index and validate; what the bytes mean is decided by a codec in Lua. Each kernel has a scalar form that the
 * vector form is tested against.
 */
#ifndef MR_SCAN_H
#define MR_SCAN_H

/* Field names that codecs ask for by number; index into mr_head.first, and bit in .seen and .repeated. */
typedef enum mr_field_id {
  MR_FIELD_OTHER = 0,
  MR_FIELD_HOST,
  MR_FIELD_CONNECTION,
  MR_FIELD_CONTENT_LENGTH,
  MR_FIELD_TRANSFER_ENCODING,
  MR_FIELD_EXPECT,
  MR_FIELD_UPGRADE,
  MR_FIELD_COUNT
} mr_field_id;

enum { MR_HEAD_FIELDS_MAX = 200 };

/* One header field; offsets count from the start of the head. */
typedef struct mr_field {
  int32_t name;
  int32_t name_length;
  int32_t value; /* without the white space around it */
  int32_t value_length;
  int32_t id; /* mr_field_id */
} mr_field;

/*
 * The index of a text head: a first line of three parts and header fields (RFC 9112 sections 2.1, 3, 5).
 * Set scanned to 0 (mr_head_reset) before the first scan of a head; afterwards it lets a scan go on where the last complete line
 * ended, so that a head which trickles in is not scanned from its start again.
 */
typedef struct mr_head {
  const uint8_t *data; /* where the last scan saw the head; borrowed, valid while the caller's bytes are */
  int32_t scanned;
  int32_t line_max;   /* bytes of a line with its CR LF; 0: any. The caller's, as is: */
  int32_t fields_max; /* 0: MR_HEAD_FIELDS_MAX, which it does not exceed */
  int32_t field_count;
  uint32_t seen;     /* bit id: the field occurred */
  uint32_t repeated; /* bit id: it occurred more than once */
  int32_t part[3];   /* first line: method, target, version; or version, status, reason (which may hold spaces) */
  int32_t part_length[3];
  int32_t first[MR_FIELD_COUNT]; /* index in fields of the first occurrence, valid where seen */
  mr_field fields[MR_HEAD_FIELDS_MAX];
} mr_head;

enum {
  MR_SCAN_MORE = 0, /* the head is not complete yet */
  /* Failures; head->scanned is the offset of the line at fault. */
  MR_SCAN_BAD_LINE = -1,  /* first line malformed, or a CR without LF or LF without CR */
  MR_SCAN_BAD_NAME = -2,  /* not a token, empty, white space before the colon, or a folded line */
  MR_SCAN_BAD_VALUE = -3, /* a control character in a value */
  MR_SCAN_TOO_MANY = -4,  /* more than fields_max fields */
  MR_SCAN_TOO_LONG = -5,  /* a line of more than line_max bytes */
  /* Of mr_scan_chunk. */
  MR_SCAN_BAD_CHUNK = -6,      /* not 1 to MR_CHUNK_DIGITS_MAX hexadecimal digits, or no CR LF where one has to be */
  MR_SCAN_BIG_CHUNK = -7,      /* a size above 2^52 */
  MR_SCAN_LONG_EXTENSION = -8, /* a chunk extension of more than extension_max bytes */
  MR_SCAN_MUCH_FRAMING = -9    /* lines of chunks that are out of all proportion to their content */
};

enum {
  MR_CHUNK_DIGITS_MAX = 16, /* leading zeros included */
  /* What a chunk's line may take without counting as excess, and what it may for each byte of content besides. */
  MR_CHUNK_LINE_FREE = 16,
  MR_CHUNK_LINE_PER_BYTE = 2,
  MR_CHUNK_EXCESS_MAX = 16384 /* of one body; ten thousand one-byte chunks without extensions have none */
};

/* Where in the framing of a chunked body (RFC 9112 section 7.1) the reader is. All zero but for extension_max at its start. */
typedef struct mr_chunked {
  double size; /* of the chunk whose line mr_scan_chunk has finished, -1: it has not */
  double value;
  int32_t phase;
  int32_t digits;
  int32_t extension_bytes; /* of this chunk's line so far */
  int32_t extension_max;
  int32_t excess; /* bytes of the body's chunk lines beyond what is in proportion to its content */
} mr_chunked;

/* Classes of characters, to be combined with |; what mr_scan_span accepts. */
typedef enum mr_class {
  MR_CLASS_TOKEN = 1,   /* tchar, RFC 9110 section 5.6.2 */
  MR_CLASS_VISIBLE = 2, /* VCHAR and obs-text */
  MR_CLASS_VALUE = 4,   /* the same, SP and HTAB: what a field value may hold */
  MR_CLASS_NAME = 8     /* a registered name or an IPv4 address, RFC 3986 section 3.2.2 */
} mr_class;

/* Prepares *head for a new head. The limits in it stay. */
MR_API void mr_head_reset(mr_head *head);

/*
 * Indexes the head that starts at data[0], of which `length` bytes are there. Result: the head's length in bytes with its empty
 * line, or MR_SCAN_*. Lines end in CR LF, bare CR and bare LF are refused. Call it again with the same head and more bytes (at
 * any address) after MR_SCAN_MORE.
 */
MR_API int32_t mr_scan_head(const uint8_t *data, int32_t length, mr_head *head);

/* The same for fields without a first line: trailers, the heads of parts. */
MR_API int32_t mr_scan_fields(const uint8_t *data, int32_t length, mr_head *head);

/* mr_scan_head byte by byte: the form that it is tested against. */
MR_API int32_t mr_scan_head_scalar(const uint8_t *data, int32_t length, mr_head *head);

/*
 * Reads framing between the data of chunks: from the start of the body, or from right behind the `size` bytes of data of the
 * chunk before. Takes bytes up to the end of a chunk's line, or all; chunk extensions are passed over. Result: how many it has
 * taken, and *chunked tells the size of the chunk (0: it was the last one, trailer fields follow); or MR_SCAN_*, where
 * the bytes before the one at fault count as taken by nobody.
 */
MR_API int32_t mr_scan_chunk(mr_chunked *chunked, const uint8_t *data, int32_t length);

/*
 * Index of the first field from number `from` on whose name is name[0..length) but for case, or -1. The bytes of the head must
 * still be where the last scan saw them.
 */
MR_API int32_t mr_head_find(const mr_head *head, const uint8_t *name, int32_t length, int32_t from);

/* How many of the first bytes of data[0..length) belong to one of the classes; equal to length when all do. */
MR_API int32_t mr_scan_span(const uint8_t *data, int32_t length, uint32_t classes);

/*
 * 1 when data[0..length) is a uri-host [ ":" port ] (RFC 9110 section 7.2): a name, an IPv4 address or an IPv6 address in
 * brackets, and at most one colon behind that with a port of up to 65535, or nothing, after it. 1 for nothing at all, too. What
 * has two colons is read as one host by some, as another by others.
 */
MR_API int mr_scan_host(const uint8_t *data, int32_t length);

/* The number that data[0..length) spells in decimal digits only, or -1: empty, another character, or above 2^53 - 1. */
MR_API double mr_scan_decimal(const uint8_t *data, int32_t length);

/* Offset of the first of `length` bytes that equals `byte`, or -1. */
MR_API int32_t mr_scan_byte(const uint8_t *data, int32_t length, uint8_t byte);

/* 1 when both spans hold the same bytes but for the case of ASCII letters, else 0. */
MR_API int mr_scan_equal_fold(const uint8_t *left, int32_t left_length, const uint8_t *right, int32_t right_length);

#endif
