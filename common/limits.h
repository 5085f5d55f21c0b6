#pragma once

/*
 * The bounds that more than one part of kser knows, or that its users see, each with its reason; what bounds one module alone
 * stands in it. The functions in SQL know the same numbers (a test compares them).
 */

/* One record on a topic, sealed: Kafka's own default for message.max.bytes is about as much. */
#define MESSAGE_BYTES_MAX (1024 * 1024)

/* Nesting of arrays and objects: a recursive reader of ours or of a peer must not run out of stack. */
#define JSON_DEPTH_MAX 64

/* Names go into logs, labels and columns; longer ones are mistakes. */
#define ENTRYPOINT_BYTES_MAX 255
#define QUEUE_BYTES_MAX 100 /* with the prefix it must fit a Kafka topic name (249) */

/* One operation is planned and inserted in one transaction. */
#define OPERATION_TASKS_MAX 10000

/*
 * A submission by hand: one transaction and one parameter of a statement, with as many tasks as one operation may have, a few kB
 * each. The database takes no value of 1 GB.
 */
#define SUBMIT_BYTES_MAX (64 * 1024 * 1024)

/* Operations named in one command: as many ids as one statement should carry. */
#define IDS_MAX 10000

/* What a command may say: enough to diagnose, small enough to stay in the row. The rest is cut with a mark. */
#define OUTPUT_BYTES_MAX (64 * 1024)

/* What is kept of a record that could not be used: enough to see what it was. */
#define DEAD_BYTES_MAX (64 * 1024)

/* How much of somebody's input an error text repeats. */
#define ERROR_INPUT_BYTES_MAX 500

/* Replies applied in one transaction: beyond this the gain is gone and the locks last longer. */
#define BATCH_REPLIES_MAX 1000

/* Dispatches that go to one partition before the next one is taken. */
#define BURST_MAX 200

/* Partitions of one topic that the orchestrator keeps counters for. */
#define PARTITIONS_MAX 1024

/* A worker reads at most so many records past its committed offset: bounds repeats and memory. */
#define WORKER_AHEAD_MAX 2048

/* Tasks at once in one worker process. */
#define SLOTS_MAX 10000

/* Keys of a keyring: a rotation needs two or three, and each is tried on what no key opens. */
#define KEYS_MAX 16
#define KEY_FILE_BYTES_MAX 4096

/* Spans as text that wait for the receiver of traces, about 5,000; as many again are on their way. */
#define TRACE_PENDING_BYTES_MAX (2 * 1024 * 1024)

/* A name or an attribute of a span; longer ones are cut. */
#define TRACE_TEXT_BYTES_MAX 1024
