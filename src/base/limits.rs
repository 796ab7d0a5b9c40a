//! Every bound of the broker in one place, with the relations between them asserted at compile time.

/// The unit of direct I/O: offsets, lengths and addresses are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// The smallest request frame: API key, version, correlation id.
pub const FRAME_BYTES_MIN: usize = 8;

/// Topic names: Kafka's `Topic.MAX_NAME_LENGTH`.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The longest name of a file or directory: Linux's `NAME_MAX`. A directory's new name is cut to it (`LocalLog`).
pub const FILE_NAME_BYTES_MAX: usize = 255;
const _: () = assert!(TOPIC_NAME_BYTES_MAX < FILE_NAME_BYTES_MAX);

/// Texts about errors in replies are cut to this.
pub const ERROR_TEXT_BYTES_MAX: usize = 2048;

/// Shards in one process.
pub const SHARDS_MAX: usize = 256;

/// A batch's records when decompressed, in bytes. Kafka has no such bound, but decompresses in small steps.
pub const RECORDS_UNCOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// What a helper thread decompresses, or compresses anew, for a request that others need not stand behind, in bytes; a batch
/// that wants more is validated by itself, one of the process at a time.
pub const INFLATED_QUICKLY_BYTES_MAX: usize = 8 << 20;
const _: () = assert!(INFLATED_HERE_BYTES_MAX <= INFLATED_QUICKLY_BYTES_MAX);

/// So many more topics and partitions than there are partitions a Produce or a Fetch may name: clients name those that there
/// are, or were, once each.
pub const PARTITIONS_NAMED_SPARE: usize = 10_000;
/// A partition that one of them names beyond the first few counts as so many bytes of small requests in its turn.
pub const PARTITION_NAMED_BYTES: usize = 16;
/// See [`PARTITION_NAMED_BYTES`].
pub const PARTITIONS_NAMED_FREE: usize = 64;

/// Up to so many partitions of a Produce are compared each with each to find one that is named twice, which needs no memory.
pub const PRODUCE_PARTITIONS_COMPARED_MAX: usize = 16;

/// What a Produce request's batches are decompressed to on its core, in bytes; the rest is a helper thread's.
pub const INFLATED_HERE_BYTES_MAX: usize = 256 << 10;
/// The same for all of a core's in one turn of its loop.
pub const INFLATED_IN_TURN_BYTES_MAX: usize = 1 << 20;
/// A batch for a topic with a compression of its own that is compressed on its core.
pub const COMPRESSED_HERE_BYTES_MAX: usize = 4 << 10;
const _: () = assert!(INFLATED_HERE_BYTES_MAX <= INFLATED_IN_TURN_BYTES_MAX);
const _: () = assert!(INFLATED_IN_TURN_BYTES_MAX <= RECORDS_UNCOMPRESSED_BYTES_MAX);

/// Refused records that a Produce response lists per partition. Clients fail the whole batch anyway.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// One write to a partition, unless a single append is larger: more than this adds no throughput.
pub const LOG_WRITE_BYTES_MAX: usize = 1 << 20;

/// Bytes that wait to be written to one partition before clients' appends are refused.
pub const LOG_PENDING_BYTES_MAX: usize = 256 << 20;

/// Reserved when a segment is written to first: small, as there may be 10,000 of them.
pub const LOG_ALLOCATE_BYTES_MIN: u64 = 64 << 10;

/// Then this many times what it has is added when it is nearly full.
pub const LOG_ALLOCATE_GROWTH: u64 = 3;

/// A step of a partition that failed before anything was written (opening, reserving, sealing) is tried again after so long,
/// milliseconds, ...
pub const SHORTAGE_RETRY_MS_MIN: i64 = 100;
/// ... after twice as long each time, and after this long at most.
pub const SHORTAGE_RETRY_MS_MAX: i64 = 2000;
/// Whoever waits for an append that cannot be written is told so after this long.
pub const SHORTAGE_PATIENCE_MS: i64 = 1000;
/// A shortage that comes back within so long is not warned of again, milliseconds: retention may keep a full disk at the edge.
pub const SHORTAGE_QUIET_MS: i64 = 30_000;
/// Partitions of a core that try again in one turn.
pub const SHORTAGE_RETRIES_AT_ONCE: usize = 64;
const _: () = assert!(SHORTAGE_RETRY_MS_MIN < SHORTAGE_RETRY_MS_MAX && SHORTAGE_RETRY_MS_MAX < 5000);

/// Reserved at once in a segment that grows fast.
pub const LOG_ALLOCATE_BYTES_MAX: u64 = 64 << 20;

/// One read from a segment, unless a single batch is larger.
pub const LOG_READ_BYTES_MAX: usize = 1 << 20;

/// The smallest read from a segment: what follows is likely to be wanted as well.
pub const LOG_READ_BYTES_MIN: usize = 128 << 10;

/// What is read ahead of one who reads a partition from the disk in order: in the cache, or on its way there.
pub const LOG_READ_AHEAD_BYTES_MAX: usize = 2 << 20;
/// The same for all readers of a core, ...
pub const LOG_READ_AHEAD_CORE_BYTES_MAX: usize = 16 << 20;
/// ... of whose cache it is at most this part.
pub const LOG_READ_AHEAD_CACHE_SHARE: usize = 4;
/// Stretches that are looked at when something is to be read ahead.
pub const LOG_READ_AHEAD_STEPS_MAX: usize = 32;
/// Readers of one partition that are remembered.
pub const LOG_READERS_MAX: usize = 8;

const _: () =
    assert!(LOG_READ_AHEAD_BYTES_MAX >= 2 * LOG_READ_BYTES_MAX, "one is used while another is read");
const _: () = assert!(LOG_READ_AHEAD_BYTES_MAX <= LOG_READ_AHEAD_CORE_BYTES_MAX);
const _: () = assert!(LOG_READ_AHEAD_BYTES_MAX / LOG_READ_BYTES_MIN <= LOG_READ_AHEAD_STEPS_MAX);

/// What a lookup by time looks at in one go, in bytes of batches and of their records, unless it is a single batch's header.
pub const LOOKUP_STEP_BYTES: usize = 64 << 10;
/// Lookups of a core that have such a turn in one turn of its loop.
pub const LOOKUP_STEPS_IN_TURN: usize = 16;
/// Lookups of a core that are under way: each may hold a batch.
pub const LOOKUPS_AT_ONCE: usize = 16;
/// The same for one request.
pub const LOOKUPS_OF_REQUEST: usize = 4;
/// All that a core's loop decompresses in one turn: for Produce requests, and one step of each lookup that goes on and of each
/// whose read has ended.
pub const TURN_INFLATED_BYTES_MAX: usize =
    INFLATED_IN_TURN_BYTES_MAX + (LOOKUP_STEPS_IN_TURN + LOOKUPS_AT_ONCE) * LOOKUP_STEP_BYTES;
const _: () = assert!(TURN_INFLATED_BYTES_MAX <= 4 << 20, "a few milliseconds");
const _: () = assert!(LOOKUPS_OF_REQUEST < LOOKUPS_AT_ONCE, "one request leaves room for others");

/// However much else a core's buffers hold, one part in so many of `ottla.core.cache.bytes` stays for the cache.
pub const CACHE_SHARE_LEAST: usize = 4;

/// What an open file of a segment counts for in what the cache keeps of open segments.
pub const CACHE_OPEN_FILE_BYTES: usize = 16 << 10;

/// What one read of a core has the disk read at most, unless a single batch is larger: it is all in memory at once.
pub const FETCH_DISK_BYTES_MAX: usize = 16 << 20;

/// How long a new member's JoinGroup may be parked, milliseconds (`GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
pub const GROUP_NEW_MEMBER_JOIN_MS: i32 = 300_000;
/// Member ids of one group that are given out and not used yet (KIP-394).
pub const GROUP_PENDING_MEMBERS_MAX: usize = 10_000;
/// How much of the client's or instance's name stands before the UUID of a member id.
pub const GROUP_MEMBER_ID_PREFIX_BYTES_MAX: usize = 1024;
/// How soon a rebalance that nobody joined is looked at again, whatever rebalance timeout the members claim.
pub const GROUP_REJOIN_WAIT_MS_MIN: i32 = 100;
/// Appends of one group coordinator that are on their way to the log; requests beyond are refused.
pub const GROUP_APPENDS_IN_FLIGHT_MAX: usize = 65_536;
/// Bytes of records of groups on their way to the log, of all coordinators of a core: more wait. ...
pub const GROUP_APPENDS_BYTES_MAX: usize = 64 << 20;
/// ... of which those of requests that add more than [`GROUP_APPEND_SMALL_BYTES`] may be so many, or one of them.
pub const GROUP_APPENDS_LARGE_BYTES_MAX: usize = 16 << 20;
/// See [`GROUP_APPENDS_LARGE_BYTES_MAX`].
pub const GROUP_APPEND_SMALL_BYTES: usize = 64 << 10;
const _: () = assert!(GROUP_APPEND_SMALL_BYTES < GROUP_APPENDS_LARGE_BYTES_MAX);
const _: () =
    assert!(GROUP_APPENDS_LARGE_BYTES_MAX < GROUP_APPENDS_BYTES_MAX, "small ones do not wait for large ones");
/// Deadlines of groups that a core meets in one turn: members that expire, phases that end.
pub const GROUP_EXPIRIES_IN_TURN: usize = 256;
/// The same of one coordinator with each of its requests, so that what is due at once is done at once.
pub const GROUP_EXPIRIES_WITH_REQUEST: usize = 4;
/// Groups that are looked through in one turn for offsets to delete, ...
pub const GROUPS_SWEPT_IN_TURN: usize = 256;
/// ... as long as no more appends than this are on their way; after so many milliseconds otherwise.
pub const GROUP_SWEEP_APPENDS_MAX: usize = 1000;
/// See [`GROUP_SWEEP_APPENDS_MAX`].
pub const GROUP_SWEEP_WAIT_MS: i64 = 10;
/// Protocols of all members of a group that are counted anew when a static member comes back with other ones; with more, the
/// group is rebalanced.
pub const GROUP_VOTE_PROTOCOLS_MAX: usize = 10_000;
const _: () = assert!(GROUP_EXPIRIES_WITH_REQUEST < GROUP_EXPIRIES_IN_TURN);
/// Deletions of expired offsets are appended in batches of about this many records.
pub const GROUP_APPEND_RECORDS_GOAL: usize = 1_000;

const _: () =
    assert!(GROUP_MEMBER_ID_PREFIX_BYTES_MAX < i16::MAX as usize - 64, "a member id is a string of Kafka's");

/// The longest value of a configuration, in UTF-16 units: Java's `Short.MAX_VALUE`.
pub const CONFIG_VALUE_UNITS_MAX: usize = 32767;
/// `interval.ms` of a client metrics subscription, milliseconds (`ClientMetricsConfigs`).
pub const CLIENT_METRICS_INTERVAL_MS_MIN: i64 = 100;
/// See [`CLIENT_METRICS_INTERVAL_MS_MIN`].
pub const CLIENT_METRICS_INTERVAL_MS_MAX: i64 = 3_600_000;

/// Metadata records, or new partitions, that one request may cause (`QuorumController.MAX_RECORDS_PER_USER_OP`).
pub const METADATA_RECORDS_PER_REQUEST_MAX: usize = 10_000;

/// A batch of the metadata log (`KafkaRaftClient.MAX_BATCH_SIZE_BYTES`).
pub const METADATA_BATCH_BYTES_MAX: usize = 8 << 20;

/// With a snapshot the metadata log begins a new segment if the last one has this much (Kafka's least
/// `metadata.log.segment.bytes`), so that what the snapshot holds can be deleted and a start reads little.
pub const METADATA_ROLL_BYTES_MIN: u64 = 8 << 20;

/// The largest batch that `ottla dump` reads into memory.
pub const DUMP_BATCH_BYTES_MAX: usize = 256 << 20;

/// The largest batch that `ottla dump` makes by decompression.
pub const DUMP_UNCOMPRESSED_BYTES_MAX: usize = 512 << 20;

/// The largest index, snapshot or checkpoint that `ottla dump` reads.
pub const DUMP_FILE_BYTES_MAX: u64 = 256 << 20;

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(LOG_WRITE_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(LOG_READ_BYTES_MIN >= 4 * BLOCK_BYTES && LOG_READ_BYTES_MIN <= LOG_READ_BYTES_MAX);
const _: () = assert!(LOG_ALLOCATE_BYTES_MIN >= BLOCK_BYTES as u64);
const _: () = assert!(SHARDS_MAX <= u16::MAX as usize);

/// What buffers are cut from: mapped at once, and used again and again.
pub const REGION_BYTES: usize = 4 << 20;
/// Regions of a thread that are kept although nothing in them is in use.
pub const REGIONS_FREE_MAX: usize = 4;
/// Free memory of the heap that is not given back to the system.
pub const HEAP_FREE_BYTES_MAX: usize = 16 << 20;
/// How often a core that is not idle looks for memory to give back, milliseconds, ...
pub const MEMORY_TIDY_MS: i64 = 1000;
/// ... and how often once it is idle.
pub const MEMORY_TIDY_TIMES: u32 = 6;
/// A huge page of the processor, to which regions are aligned.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;
const _: () =
    assert!(REGION_BYTES.is_multiple_of(HUGE_PAGE_BYTES) && HUGE_PAGE_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(REGION_BYTES >= 2 * LOG_READ_BYTES_MAX && REGION_BYTES >= 2 * LOG_WRITE_BYTES_MAX);

/// Regions of a core that are registered with its ring; others are used as they are.
pub const REGIONS_REGISTERED_MAX: u16 = 1024;
/// Smaller reads and writes do not have the region registered that they use.
pub const FIXED_BYTES_MIN: usize = 32 << 10;
const _: () = assert!(REGIONS_REGISTERED_MAX <= 16_384, "the kernel's own bound");

/// Entries of a core's submission queue.
pub const RING_SUBMISSIONS: u32 = 1024;

/// Entries of a core's completion queue.
pub const RING_COMPLETIONS: u32 = 8192;

/// Receive buffers of a core, and the size of each. One takes what arrives on any connection until it is full.
pub const RECEIVE_BUFFERS: usize = 4;
/// See [`RECEIVE_BUFFERS`].
pub const RECEIVE_BUFFER_BYTES: usize = 256 << 10;
/// The same for kernels before 6.12, where each receive takes a whole buffer.
pub const RECEIVE_WHOLE_BUFFERS: usize = 256;
/// See [`RECEIVE_WHOLE_BUFFERS`].
pub const RECEIVE_WHOLE_BUFFER_BYTES: usize = 16 << 10;
/// Of what arrives at once, less than this is copied out of the receive buffer; more stays in it.
pub const RECEIVE_KEPT_BYTES_MIN: usize = 16 << 10;
/// Smaller ones are copied together into memory of so many bytes: a request that waits keeps as many, at most.
pub const RECEIVE_SMALL_BYTES: usize = 4 << 10;
/// Full receive buffers that are kept for what is still needed of them; while there are more, everything is copied.
pub const RECEIVE_BUFFERS_KEPT_MAX: usize = 32;

/// Bytes of a core that were sent without a copy and are not acknowledged; beyond, sends are copied.
pub const SEND_NOTICE_BYTES_MAX: usize = 32 << 20;

/// Parts of one vectored send: Linux's `IOV_MAX`.
pub const SEND_PARTS_MAX: usize = 1024;

const _: () = assert!(RING_COMPLETIONS >= 8192 && RING_COMPLETIONS >= 2 * RING_SUBMISSIONS);
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_WHOLE_BUFFERS.is_power_of_two());
const _: () = assert!(RECEIVE_BUFFERS <= RECEIVE_WHOLE_BUFFERS && RECEIVE_WHOLE_BUFFERS <= 32768);
const _: () = assert!(RECEIVE_BUFFER_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(RECEIVE_WHOLE_BUFFER_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(RECEIVE_KEPT_BYTES_MIN <= RECEIVE_BUFFER_BYTES);

/// Accepting fails while descriptors or memory are short; it is tried again after so long, milliseconds, as at once
/// would spin.
pub const ACCEPT_RETRY_MS: i64 = 100;

/// Of the descriptors that a process may have (`nofile`), connections leave one part in so many for files, ...
pub const DESCRIPTORS_FOR_FILES_PART: u64 = 4;
/// ... and this many at most. A connection that would take one of those is closed as soon as it is accepted.
pub const DESCRIPTORS_FOR_FILES_MAX: u64 = 65_536;
/// Connections are accepted again when one is, and none was refused for so long, milliseconds.
pub const ACCEPT_AGAIN_MS: i64 = 1000;

/// Connections of one core.
pub const CONNECTIONS_PER_CORE_MAX: usize = 1 << 20;

/// Connections that wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Up to so many new partitions are flushed one by one; more with one flush of their volume, which also waits for what
/// others have written there.
pub const FLUSHED_ONE_BY_ONE_MAX: usize = 3;

/// New partitions that one job makes, with one flush.
pub const PARTITIONS_MADE_AT_ONCE: usize = 256;
/// Existing partitions that one job opens: somebody else's may wait for its end.
pub const PARTITIONS_OPENED_AT_ONCE: usize = 64;
/// A partition whose directory an earlier one of its name still uses, on another core, asks again after so long, milliseconds.
pub const DIRECTORY_RETRY_MS: i64 = 10;
/// Such jobs of a core that are submitted at once.
pub const PARTITION_JOBS_MAX: usize = 2;

/// Leader epochs are written down about so long after the first append with a new one, milliseconds.
pub const EPOCHS_SAVE_MS: i64 = 10_000;
/// Partitions whose epochs one job writes, with two flushes.
pub const EPOCHS_SAVED_AT_ONCE: usize = 1000;

/// Threads for file work beside the cores.
pub const BACKGROUND_THREADS_MAX: usize = 4;
/// How many of them do slow jobs at once, so that quick ones need not wait for those.
pub const BACKGROUND_SLOW_MAX: usize = 2;
/// Threads beside the cores for what needs the processor; no more than there are cores.
pub const COMPUTE_THREADS_MAX: usize = 4;
/// How many of them do long work at once: it also takes much memory. One more thread than there are cores leaves room for it.
pub const COMPUTE_LONG_MAX: usize = 1;
/// Their nice value.
pub const COMPUTE_NICE: i32 = 10;
const _: () = assert!(BACKGROUND_SLOW_MAX < BACKGROUND_THREADS_MAX);

/// Threads that work on files side by side at a start and at a stop: most of the time they wait for the disk.
pub const FILE_THREADS: usize = 8;

/// `socket.request.max.bytes` unless configured.
pub const SOCKET_REQUEST_BYTES_DEFAULT: usize = 100 << 20;

/// What is allocated for a request before any of its bytes have come.
pub const FRAME_FIRST_BYTES: usize = 32 << 10;

/// What is allocated at once for the rest of a large request; so a slow sender's progress is seen.
pub const FRAME_GROWTH_BYTES_MAX: usize = 512 << 10;

/// A request of which at least this much is missing is received straight into its own buffer.
pub const FRAME_LARGE_BYTES_MIN: usize = 256 << 10;

/// Requests in flight and unread replies of one connection before it stops being read.
pub const NET_CONNECTION_BYTES: usize = 16 << 20;

/// The same for all connections of a core.
pub const NET_CORE_BYTES: usize = 256 << 20;

/// Requests of one connection that wait for their replies before it stops being read.
pub const NET_REQUESTS_IN_FLIGHT: usize = 1000;

/// While somebody waits for a core's budget, a connection that makes no progress for so long is closed, ...
pub const NET_PRESSURE_MS: i64 = 10_000;
/// ... which is less than so many bytes in that time.
pub const NET_PROGRESS_BYTES_MIN: u64 = 64 << 10;
/// How long one connection may receive beyond the budget without progress before another may, milliseconds.
pub const NET_PRIVILEGE_MS: i64 = 250;
/// How long a connection that takes nothing of its large reply keeps another large reply from being made, milliseconds.
pub const NET_STANDING_MS: i64 = 1000;

/// Bytes of small requests that a connection has served before it is another's turn.
pub const NET_TURN_BYTES: usize = 4 << 10;
/// Requests whose reply may be large, and is counted only when it is there, wait while their connection has more than this under
/// way or not taken.
pub const NET_BEHIND_BYTES_MAX: usize = 64 << 10;

/// One part in so many of a core's budget is left to small requests.
pub const NET_RESERVE_SHARE: usize = 8;
/// A reply under construction gets at most one part in so many of what is left, ...
pub const NET_GRANT_SHARE: usize = 8;
/// ... but no less than so many bytes.
pub const NET_GRANT_BYTES_MIN: usize = 256 << 10;

/// Slices up to this size are copied if their reply has to wait, as they keep the buffer that they lie in; ...
pub const NET_WAITING_COPY_BYTES_MAX: usize = 16 << 10;
/// ... others count for so many bytes at least.
pub const NET_SLICE_BYTES_MIN: usize = 32 << 10;
const _: () = assert!(NET_COPY_BYTES_MAX <= NET_WAITING_COPY_BYTES_MAX);

/// Parts of a reply up to this size are copied together; larger ones are sent from where they lie.
pub const NET_COPY_BYTES_MAX: usize = 1024;

/// States of requests of one kind that a core keeps for later ones, and the items that one may have room for.
pub const POOL_KEPT: usize = 512;
/// See [`POOL_KEPT`].
pub const POOL_KEPT_ITEMS: usize = 64;

/// Where small replies are put together for sending; one that is not sent keeps all of it.
pub const NET_SCRATCH_BYTES: usize = 16 << 10;

/// Replies of a core that are kept to write later ones into, and the bytes and slices that one of them may have room
/// for.
pub const REPLIES_KEPT: usize = 1024;
/// See [`REPLIES_KEPT`].
pub const REPLY_KEPT_BYTES: usize = 4096;
/// See [`REPLIES_KEPT`].
pub const REPLY_KEPT_SLICES: usize = 64;

const _: () = assert!(NET_CONNECTION_BYTES <= NET_CORE_BYTES);

/// An incremental fetch session may be evicted for another after this long without use, milliseconds
/// (Kafka's `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
pub const FETCH_SESSION_IDLE_MS: i64 = 120_000;
/// Partitions that all incremental fetch sessions of a core remember: about 32 MiB. A fetch beyond is answered without one.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 128 << 10;

/// A written message, the records of a Fetch aside. What would be longer is not written to its end.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
const _: () =
    assert!(MESSAGE_BYTES_MAX + FETCH_RESPONSE_BYTES_MAX < i32::MAX as usize, "both fit into a frame");

/// Strings of a request that are not UTF-8 and are read with replacement characters; a request with more is malformed.
pub const STRINGS_REPLACED_MAX: usize = 64 << 10;
/// By so much a request may grow by that.
pub const STRINGS_REPLACED_GROWTH_BYTES_MAX: usize = 1 << 20;

/// Memory that the arrays of one decoded message may take: a few million elements.
pub const DECODED_ARRAYS_BYTES_MAX: usize = 256 << 20;

/// Bytes of records in one Fetch response, whatever the client asks for.
pub const FETCH_RESPONSE_BYTES_MAX: usize = 256 << 20;

/// Places in partitions' lists of watchers that a core ends in one turn; one watch always ends, with all of its places.
pub const WATCHES_ENDED_IN_TURN: usize = 4096;
/// Watches of so many partitions end before those of more.
pub const WATCHED_SMALL_MAX: usize = 64;

/// A Fetch that waits at least this long may wait a little longer: until the next multiple of the step. So many idle
/// consumers are answered with one wake-up.
pub const FETCH_WAIT_COARSE_MS: i32 = 100;
/// See [`FETCH_WAIT_COARSE_MS`].
pub const FETCH_WAIT_STEP_MS: u64 = 10;
const _: () = assert!(FETCH_WAIT_COARSE_MS as u64 >= 10 * FETCH_WAIT_STEP_MS);

/// How long a request waits that says nothing of it: the default `request.timeout.ms` of clients.
pub const REQUEST_TIMEOUT_MS: i32 = 30_000;
/// The same for what goes to the controller: the default `default.api.timeout.ms` of clients.
pub const API_TIMEOUT_MS: i32 = 60_000;
/// A signal that comes so long after the first one ends a broker that still stops, milliseconds.
pub const FORCED_STOP_AFTER_MS: i64 = 10_000;
/// A host name with the zero at its end: `NI_MAXHOST` of the C library.
pub const HOST_NAME_BYTES_MAX: usize = 1025;
/// Open files below which a start warns: each partition in use has several, each client one.
pub const OPEN_FILES_WANTED: u64 = 16_384;
/// A start that takes longer says what it is doing, and says so again after this time, milliseconds.
pub const START_REPORT_MS: u64 = 3_000;
/// Lines of the log that one place of the source may write in [`REPEATED_LINES_MS`], where clients or a lasting fault can
/// repeat them; the others are counted.
pub const REPEATED_LINES_MAX: u32 = 5;
/// See [`REPEATED_LINES_MAX`], milliseconds.
pub const REPEATED_LINES_MS: i64 = 60_000;
/// Characters of a configured value that a line of the log shows.
pub const CHANGE_VALUE_CHARS_MAX: usize = 200;
/// How long a shutdown waits for requests in flight, milliseconds.
pub const SHUTDOWN_DRAIN_MS: i64 = 10_000;

/// A request of which no more is read on its core than this; the lists of a larger one are read on a helper thread.
pub const REQUEST_SMALL_BYTES_MAX: usize = 4 << 10;
/// The same for DescribeConfigs, whose answers are large.
pub const CONFIGS_REQUEST_SMALL_BYTES_MAX: usize = 64;
/// A reply that describes configurations takes so much; resources beyond are answered with an error.
pub const CONFIGS_REPLY_BYTES_MAX: usize = 32 << 20;
/// Partitions that a Metadata request may be about to be answered on its core.
pub const METADATA_PARTITIONS_SMALL_MAX: usize = 1000;
/// Coordinators that a request may look for to be answered on its core.
pub const COORDINATORS_SMALL_MAX: usize = 64;
/// A request about one group of which no more is read on its core than this.
pub const GROUP_REQUEST_SMALL_BYTES_MAX: usize = 64 << 10;
/// A reply about one group with less in it is written at once, on its core, whatever others hold.
pub const GROUP_REPLY_SMALL_BYTES: usize = 64 << 10;
/// What a protocol of a member counts for beside its name and metadata.
pub const GROUP_PROTOCOL_BYTES: usize = 64;
/// About so many groups a request asks for in its first turn, ...
pub const GROUPS_IN_TURN_FIRST: usize = 16;
/// ... and so many at most; fewer where they answer with more than these bytes.
pub const GROUPS_IN_TURN: usize = 128;
/// See [`GROUPS_IN_TURN`].
pub const GROUPS_TURN_BYTES: usize = 64 << 10;
/// Partitions that a request asks about in one turn.
pub const PARTITIONS_ASKED_AT_ONCE: usize = 1024;
/// Topics and partitions of one group that an OffsetFetch asks its coordinator for at once. What a client asks for in earnest
/// is not more, so that its answer is of one moment.
pub const OFFSETS_FETCHED_AT_ONCE: usize = 8192;
/// Producers that one job describes.
pub const PRODUCERS_DESCRIBED_AT_ONCE: usize = 4096;
/// What the answers about partitions may take, beside one of fixed size each; partitions beyond are answered with an error.
pub const PARTITIONS_REPLY_BYTES_MAX: usize = 32 << 20;
/// Partitions that a reply lists to be written on its core.
pub const PARTITIONS_LISTED_SMALL_MAX: usize = 1000;
/// Bytes of a large reply that are written in one turn.
pub const REPLY_TURN_BYTES: usize = 1 << 20;
/// A reply that describes groups takes so much; groups beyond are answered with an error.
pub const GROUPS_REPLY_BYTES_MAX: usize = 32 << 20;
/// Steps of requests that are worked on in several turns, in one of them.
pub const STEPS_IN_TURN: usize = 2;
/// What a topic and a partition take in a description, at most nearly; and what other replies may take.
pub const METADATA_TOPIC_BYTES: usize = 128;
/// See [`METADATA_TOPIC_BYTES`].
pub const METADATA_PARTITION_BYTES: usize = 64;
/// See [`METADATA_TOPIC_BYTES`].
pub const REPLY_BYTES_GUESS: usize = 64 << 10;
/// See [`METADATA_TOPIC_BYTES`].
pub const REPLY_BYTES_PER_REQUEST_BYTE: usize = 8;
/// FindCoordinator's replies have a host for each key.
pub const COORDINATOR_BYTES_PER_REQUEST_BYTE: usize = 32;
/// A reply that is expected to be no larger is small: it is given whatever others hold.
pub const REPLY_SMALL_BYTES: usize = 8 << 10;

/// A request is parked for at most this long, milliseconds.
pub const PARKED_MS_MAX: i64 = 24 * 3600 * 1000;

/// Bytes appended to one partition that are not on the device yet. Beyond it appends wait, and with them the
/// connections that sent them.
pub const PARTITION_PENDING_BYTES_MAX: usize = 64 << 20;

/// Bytes read at once when a log is replayed or checked at a start.
pub const REPLAY_READ_BYTES: usize = 1 << 20;
/// Lines about damaged stretches of one segment that are written to the broker's log, before only their number is.
pub const DAMAGE_LINES_MAX: usize = 8;
/// Names of partitions that stand in one line of the broker's log.
pub const LINE_NAMES_MAX: usize = 10;
/// So many zeros at the end of a batch are its own: an unassigned directory's id, and what ends a record.
pub const RECORD_ZEROS_MAX: usize = 24;
/// Lines of one kind that the opening of a partition writes to the broker's log, before only their number is.
pub const OPENING_LINES_MAX: usize = 100;
/// Damaged stretches that a partition remembers.
pub const DAMAGE_STRETCHES_MAX: usize = 10_000;
/// A segment is not examined again for so long, milliseconds.
pub const EXAMINE_AGAIN_MS: i64 = 60_000;
/// Places that look like a batch's header and are judged in one pass, when whole batches are searched behind damage: 24 MiB.
pub const RESYNC_CANDIDATES_MAX: usize = 1 << 20;
const _: () = assert!(DUMP_BATCH_BYTES_MAX <= DUMP_UNCOMPRESSED_BYTES_MAX);

/// Connections of one bench, all served by one thread.
pub const BENCH_CONNECTIONS_MAX: usize = 10_000;
/// Records of one batch that a bench sends.
pub const BENCH_RECORDS_PER_BATCH_MAX: usize = 10_000;
/// The value of a record that a bench sends.
pub const BENCH_RECORD_BYTES_MAX: usize = 1 << 20;
/// A reply that a bench accepts: fetch.max.bytes of a consumer and as much again.
pub const BENCH_REPLY_BYTES_MAX: usize = 128 << 20;
/// Room for one read of a bench's connection, unless a reply is larger.
pub const BENCH_READ_BYTES: usize = 16 << 10;

const _: () = assert!(BENCH_RECORD_BYTES_MAX < BENCH_REPLY_BYTES_MAX, "what was sent can be read back");
const _: () = assert!(BENCH_READ_BYTES < BENCH_REPLY_BYTES_MAX);

/// One write of a core's journal.
pub const JOURNAL_FRAME_BYTES_MAX: usize = 1 << 20;
/// A replay of journals reads them in pieces of so many bytes, ...
pub const JOURNAL_READ_BYTES: usize = 4 << 20;
/// ... and holds entries of so many at once, before they are written to their segments.
pub const JOURNAL_REDO_BYTES: usize = 32 << 20;
/// What only looks like a frame is checked for so many bytes in a journal, in all.
pub const JOURNAL_RESYNC_BYTES_MAX: u64 = 4 << 30;
/// A journal that could not be made for lack of space, or was given back, is made again after so many milliseconds.
pub const JOURNAL_RETRY_MS: i64 = 2000;
/// So much a journal leaves free on its volume: without it the segments have less to wait for.
pub const JOURNAL_FREE_BYTES_MIN: u64 = 16 << 20;
/// Appends that are larger go straight to their segment: they are worth a write of their own.
pub const JOURNAL_ENTRY_BYTES_MAX: usize = 32 << 10;
/// After so many bytes of requests no larger than that a core answers what it has, if more have arrived.
pub const TURN_SMALL_BYTES: usize = 16 << 10;
/// The same for large replies, as estimated; one always goes on.
pub const TURN_LARGE_BYTES: usize = 256 << 10;
const _: () = assert!(NET_TURN_BYTES * 2 <= TURN_SMALL_BYTES, "a turn is for more than one connection");
/// A full half of the journal has its partitions flush their segments in so many goes, so that its own flushes keep
/// their share of the disk.
pub const JOURNAL_FLUSH_ROUNDS: usize = 16;
/// Bytes in the journal that one partition holds back from its segment.
pub const WRITE_BEHIND_BYTES_MAX: usize = 256 << 10;
/// How long it does, milliseconds.
pub const WRITE_BEHIND_MS: i64 = 2000;
/// What all partitions of a core hold back together; those that began first write then.
pub const HELD_BACK_BYTES_MAX: usize = 48 << 20;
/// Once some write, those whose time comes within so many milliseconds do as well, ...
pub const WRITE_BEHIND_EARLY_MS: i64 = 25;
/// ... and so many bytes more are written than the bound demands.
pub const HELD_BACK_EARLY_BYTES: usize = 1 << 20;
const _: () = assert!(HELD_BACK_EARLY_BYTES < HELD_BACK_BYTES_MAX && WRITE_BEHIND_EARLY_MS < WRITE_BEHIND_MS);
/// Partitions that write together, at least, while a half of the journal is emptied.
pub const WRITES_BEHIND_TOGETHER: u64 = 8;
/// Partitions that begin to write what they hold back in one turn of the loop.
pub const WRITES_BEHIND_AT_ONCE: usize = 64;
const _: () = assert!(JOURNAL_ENTRY_BYTES_MAX * 4 <= JOURNAL_FRAME_BYTES_MAX);
const _: () =
    assert!(JOURNAL_FRAME_BYTES_MAX <= JOURNAL_READ_BYTES && JOURNAL_READ_BYTES <= JOURNAL_REDO_BYTES);
const _: () = assert!(JOURNAL_FRAME_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(
    WRITE_BEHIND_BYTES_MAX <= LOG_WRITE_BYTES_MAX && WRITE_BEHIND_BYTES_MAX < PARTITION_PENDING_BYTES_MAX
);
const _: () = assert!(PARTITION_PENDING_BYTES_MAX <= LOG_PENDING_BYTES_MAX);
