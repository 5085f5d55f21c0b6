#include "kser/worker.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "worker/answer.h"
#include "worker/hand.h"
#include "worker/heartbeat.h"
#include "worker/intake.h"
#include "worker/plugin.h"
#include "worker/settings.h"
#include "worker/signals.h"
#include "worker/slots.h"
#include "worker/stock.h"
#include "worker/task.h"

/* Between heartbeats, and between those that tell the entrypoints too. */
#define BEAT_MS 10000
#define DESCRIBE_MS 60000

/* Between looks whether more threads are needed. */
#define LOOK_MS 50

/* Waiting for a broker or a topic: from the first to the last. */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 5000

#define METADATA_TIMEOUT_MS 1000

/* Commands that are given up get a grace of two seconds, then their threads end. */
#define GIVE_UP_MS 3000

/* For the last commit and leaving the group, and for the last heartbeat. */
#define CLOSE_MS 6000
#define LAST_WORDS_MS 1000

/* Replies on their way to the broker, beyond what waits and runs. */
#define UNACKNOWLEDGED_MAX 2048

/* Tasks that wait for a slot: enough to keep slots busy while the next records come. */
#define WAITING_MIN 256

static char session_property[] = "session.timeout.ms";
static char interval_property[] = "heartbeat.interval.ms";
static char poll_property[] = "max.poll.interval.ms";
static char poll_value[] = "86400000";
static char in_flight_property[] = "max.in.flight.requests.per.connection";
static char in_flight_value[] = "2";

struct kser_worker {
	struct worker_settings settings;
	struct entrypoints entrypoints;
	struct buffer mistakes; /* of registrations, one a line */
	char host[65];
	char incarnation[100];
	char tasks_topic[250];
	char results_topic[250];
	char group[250];
	char launcher[PATH_MAX];
	struct command_host commands;
	struct properties properties; /* the list is ours, its texts are not */
	char session[24];
	char interval[24];
	int wake_fd;
	atomic_bool stopping;
	struct queue *queue;
	struct later *later;
	struct replies *replies;
	struct slots *slots;
	struct intake *intake;
	struct answer answer; /* for what this thread answers */
	int64_t beat_ms;      /* when the next heartbeat is due, monotonic */
	int64_t describe_ms;
	int64_t look_ms;
	bool abandoned;       /* threads still run that nobody waits for */
};

/* ---- waking ---- */

static void wake(void *context)
{
	const struct kser_worker *worker = context;
	const uint64_t one = 1;
	ssize_t written = write(worker->wake_fd, &one, sizeof one);
	(void)written; /* a full eventfd wakes as well */
}

static void wait_for_wake(const struct kser_worker *worker, int64_t wait_ms)
{
	struct pollfd polled = {.fd = worker->wake_fd, .events = POLLIN};
	uint64_t count;
	if (wait_ms > 0)
		(void)poll(&polled, 1, wait_ms < INT_MAX ? (int)wait_ms : INT_MAX);
	ssize_t got = read(worker->wake_fd, &count, sizeof count);
	(void)got; /* nothing there: it was the time */
}

static bool is_stopping(const struct kser_worker *worker)
{
	return atomic_load(&worker->stopping) || signals_count() > 0;
}

void kser_worker_stop(struct kser_worker *worker)
{
	atomic_store(&worker->stopping, true);
	wake(worker);
}

/* ---- making ---- */

/* A host's name may be any bytes; in ours only plain ones are kept. */
static void set_names(struct kser_worker *worker)
{
	gethostname(worker->host, sizeof worker->host - 1);
	for (char *at = worker->host; *at; at++)
		if ((*at < 'a' || *at > 'z') && (*at < 'A' || *at > 'Z') && (*at < '0' || *at > '9') && *at != '.')
			*at = '-';
	uint32_t random = 0;
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		random = (uint32_t)clock_monotonic_us();
	snprintf(worker->incarnation, sizeof worker->incarnation, "%s:%d:%08x", worker->host, (int)getpid(), (unsigned)random);
	struct topics topics = {0};
	snprintf(topics.prefix, sizeof topics.prefix, "%s", worker->settings.topic_prefix);
	topics_tasks(&topics, worker->settings.queue, worker->tasks_topic);
	topics_named(&topics, "results", worker->results_topic);
	topics_named(&topics, "workers", worker->group);
	if (worker->settings.queue[0]) {
		size_t length = strlen(worker->group);
		snprintf(worker->group + length, sizeof worker->group - length, ".%s", worker->settings.queue);
	}
}

/* `folder` with all behind its last slash replaced; false when there is no such program. */
static bool is_beside(struct kser_worker *worker, const char *folder, const char *name)
{
	const char *end = strrchr(folder, '/');
	if (!end)
		return false;
	snprintf(worker->launcher, sizeof worker->launcher, "%.*s/%s", (int)(end - folder), folder, name);
	return access(worker->launcher, X_OK) == 0;
}

/* kser-launch: as set, beside this program, or where the library was installed with it. */
static void find_launcher(struct kser_worker *worker)
{
	char program[PATH_MAX];
	Dl_info library;
	ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
	program[length > 0 ? length : 0] = '\0';
	if (worker->settings.launcher[0])
		snprintf(worker->launcher, sizeof worker->launcher, "%s", worker->settings.launcher);
	else if (!is_beside(worker, program, "kser-launch") && dladdr(&session_property, &library) && library.dli_fname)
		(void)is_beside(worker, library.dli_fname, "../bin/kser-launch");
}

/* What the user set comes last and counts. Each client ignores what is of the other kind. */
static void set_properties(struct kser_worker *worker)
{
	const struct properties *user = &worker->settings.kafka;
	snprintf(worker->session, sizeof worker->session, "%" PRId64, worker->settings.session_ms);
	snprintf(worker->interval, sizeof worker->interval, "%" PRId64, worker->settings.session_ms / 4);
	const struct property own[] = {
		{session_property, worker->session},
		{interval_property, worker->interval},
		/* The I/O thread polls whatever tasks do, but not while it waits for room; only a dead process is to lose its partitions. */
		{poll_property, poll_value},
		/* Replies that come while two requests are on their way fill the next one. With five of them, requests are so small that they
		 * cost twice the CPU, and nothing is gained. */
		{in_flight_property, in_flight_value},
	};
	struct property *list = xcalloc(COUNT_OF(own) + user->count, sizeof *list);
	memcpy(list, own, sizeof own);
	for (size_t i = 0; i < user->count; i++)
		list[COUNT_OF(own) + i] = user->list[i];
	worker->properties = (struct properties){list, COUNT_OF(own) + user->count};
}

struct kser_worker *kser_worker_new(int argc, char **argv, int *status)
{
	struct kser_worker *worker = xcalloc(1, sizeof *worker);
	worker->wake_fd = worker->commands.stop_fd = -1;
	if (worker_settings_read(&worker->settings, argc, argv, status)) {
		kser_worker_free(worker);
		return NULL;
	}
	log_open(program_invocation_short_name, (enum log_level)worker->settings.log_level, (enum log_format)worker->settings.log_format);
	set_names(worker);
	find_launcher(worker);
	set_properties(worker);
	const char *folder = settings_environment("TMPDIR");
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->commands = (struct command_host){.launcher = worker->launcher, .folder = folder ? folder : "/tmp", .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	return worker;
}

bool kser_worker_register(struct kser_worker *worker, const struct kser_entrypoint *entrypoint)
{
	struct kser_entrypoint known = {0};
	memcpy(&known, entrypoint, entrypoint->size < sizeof known ? entrypoint->size : sizeof known);
	struct error err;
	if (!entrypoints_add(&worker->entrypoints, &known, &err))
		return true;
	buffer_printf(&worker->mistakes, "%s\n", err.text);
	return false;
}

void kser_worker_free(struct kser_worker *worker)
{
	if (!worker || worker->abandoned)
		return;
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	if (worker->commands.stop_fd >= 0)
		close(worker->commands.stop_fd);
	answer_clear(&worker->answer);
	later_free(worker->later);
	queue_free(worker->queue);
	entrypoints_clear(&worker->entrypoints);
	buffer_clear(&worker->mistakes);
	free(worker->properties.list);
	worker_settings_clear(&worker->settings);
	free(worker);
}

/* ---- entrypoints ---- */

static enum status add_commands(struct kser_worker *worker, struct error *err)
{
	enum status status = E_OK;
	for (struct command_entrypoint *command = worker->settings.commands; command && !status; command = command->next) {
		command->command.host = &worker->commands;
		struct kser_entrypoint entrypoint = {KSER_ENTRYPOINT, .name = command->name, .run = command_run,
			.required = (const char *const *)command->required, .context = &command->command};
		status = entrypoints_add(&worker->entrypoints, &entrypoint, err);
	}
	return status;
}

static enum status check_launcher(const struct kser_worker *worker, struct error *err)
{
	if (worker->settings.commands && access(worker->launcher, X_OK) != 0)
		return fail(err, E_INVALID, "launcher: cannot execute %s: %s", worker->launcher, strerror(errno));
	return E_OK;
}

static enum status add_entrypoints(struct kser_worker *worker, struct error *err)
{
	enum status status = plugins_load(worker->settings.plugin, worker, err);
	if (!status)
		status = add_commands(worker, err);
	if (!status)
		status = check_launcher(worker, err);
	if (!status && worker->settings.stock)
		status = stock_add(&worker->entrypoints, err);
	if (!status && worker->mistakes.length > 0)
		status = fail(err, E_INVALID, "%.*s", (int)worker->mistakes.length - 1, worker->mistakes.bytes);
	if (!status && !worker->entrypoints.table)
		status = fail(err, E_INVALID, "there is no entrypoint to serve");
	return status;
}

/* ---- heartbeats ---- */

static void beat(struct kser_worker *worker, bool leaving)
{
	int64_t now_ms = clock_monotonic_ms();
	bool describe = now_ms >= worker->describe_ms;
	size_t slots = (size_t)worker->settings.slots;
	size_t active = queue_state(worker->queue).active;
	struct heartbeat heartbeat = {.worker = slice_of(worker->incarnation), .host = worker->host, .queue = worker->settings.queue, .slots = slots,
		.free = leaving ? 0 : slots - active, .entrypoints = describe ? &worker->entrypoints : NULL, .leaving = leaving};
	struct buffer record CLEANUP(buffer_clear) = {0};
	heartbeat_add(&record, &heartbeat);
	replies_say(worker->replies, buffer_slice(&record));
	worker->beat_ms = now_ms + BEAT_MS;
	if (describe)
		worker->describe_ms = now_ms + DESCRIBE_MS;
}

/* ---- answers of this thread ---- */

static void acknowledged(void *context, struct kser_task *task)
{
	struct kser_worker *worker = context;
	intake_acknowledged(worker->intake, task);
}

static void report_dead(struct kser_worker *worker, struct kser_task *task, struct slice bytes, const char *reason)
{
	struct dead_record dead = {.topic = slice_of(worker->tasks_topic), .partition = task->hold.partition->number, .offset = task->hold.offset,
		.bytes = bytes, .reason = slice_of(reason), .worker = slice_of(worker->incarnation)};
	struct buffer *record = &worker->answer.record;
	buffer_reset(record);
	message_add_dead(record, &dead);
	if (!replies_send(worker->replies, task, buffer_slice(record)))
		report_dead(worker, task, slice_of(""), "the record is unusable, and too large to be told");
}

static void unusable(void *context, struct kser_task *task, const char *reason)
{
	struct kser_worker *worker = context;
	log_warning("a record cannot be used", "topic", worker->tasks_topic, "partition", LOG_INT(task->hold.partition->number),
		"offset", LOG_INT(task->hold.offset), "reason", reason);
	report_dead(worker, task, task->message.text, reason);
}

static void refused(void *context, struct kser_task *task, size_t bytes, const char *reason)
{
	struct kser_worker *worker = context;
	log_warning("a reply was refused", "bytes", LOG_INT(bytes), "error", reason);
	if (task->message.uuid.text.length == 0) {
		report_dead(worker, task, slice_of(""), "the record is unusable, and too large to be told");
		return;
	}
	answer_make_refused(&worker->answer, task, bytes, reason, slice_of(worker->incarnation));
	bool sent = replies_send(worker->replies, task, buffer_slice(&worker->answer.record));
	assert(sent);
}

static void send_due(struct kser_worker *worker)
{
	int64_t now_ms = clock_monotonic_ms();
	for (struct kser_task *task; (task = later_take(worker->later, now_ms));) {
		replies_send_kept(worker->replies, task);
		queue_done(worker->queue);
	}
}

/* ---- serving ---- */

/* Sleeps until something happens, at most so long; then serves what has. */
static void serve(void *context, int wait_ms)
{
	struct kser_worker *worker = context;
	bool waiting = intake_is_waiting(worker->intake);
	replies_want_wake(worker->replies, waiting);
	if (waiting)
		replies_serve(worker->replies);
	wait_for_wake(worker, wait_ms);
	replies_serve(worker->replies);
	send_due(worker);
	if (clock_monotonic_ms() >= worker->beat_ms)
		beat(worker, false);
}

static void look_at_slots(struct kser_worker *worker, int64_t now_ms)
{
	if (now_ms < worker->look_ms)
		return;
	slots_look(worker->slots);
	worker->look_ms = now_ms + LOOK_MS;
}

static int64_t sooner(int64_t one, int64_t other)
{
	return one < other ? one : other;
}

static int next_wait_ms(struct kser_worker *worker)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t next = sooner(later_next_ms(worker->later), intake_next_ms(worker->intake));
	next = sooner(next, worker->beat_ms);
	if (queue_state(worker->queue).waiting > 0) {
		look_at_slots(worker, now_ms);
		next = sooner(next, worker->look_ms);
	}
	int64_t wait_ms = next - now_ms;
	return wait_ms > 0 ? (int)sooner(wait_ms, INT_MAX) : 0;
}

static enum status serve_until_stop(struct kser_worker *worker, struct error *err)
{
	enum status status = E_OK;
	while (!status && !is_stopping(worker)) {
		serve(worker, next_wait_ms(worker));
		status = intake_take(worker->intake, err);
		intake_keep_up(worker->intake);
	}
	return status;
}

/* ---- starting ---- */

/* Nothing is created here: the orchestrator makes the topics. */
static enum status wait_for_topic(struct kser_worker *worker, const char *topic, struct error *err)
{
	for (int64_t wait_ms = BACKOFF_FIRST_MS;; wait_ms = sooner(2 * wait_ms, BACKOFF_LAST_MS)) {
		int partitions = 0;
		enum status status = replies_find_topic(worker->replies, topic, METADATA_TIMEOUT_MS, &partitions, err);
		if (!status && partitions > 0)
			return E_OK;
		if (is_stopping(worker))
			return fail(err, E_CONFLICT, "stopped");
		if (status)
			log_warning("could not reach the brokers, waiting", "brokers", worker->settings.brokers, "error", err->text, "wait_ms", LOG_INT(wait_ms));
		else
			log_warning("could not find the topic, waiting for an orchestrator to create it", "topic", topic, "wait_ms", LOG_INT(wait_ms));
		wait_for_wake(worker, wait_ms);
	}
}

static enum status open_replies(struct kser_worker *worker, struct error *err)
{
	struct replies_setup setup = {.brokers = worker->settings.brokers, .properties = &worker->properties, .client_id = "kser-worker",
		.topic = worker->results_topic, .acknowledged = acknowledged, .refused = refused, .wake = wake, .context = worker};
	return replies_open(&setup, &worker->replies, err);
}

static enum status open_intake(struct kser_worker *worker, size_t room, struct error *err)
{
	struct intake_setup setup = {.brokers = worker->settings.brokers, .properties = &worker->properties, .client_id = "kser-worker",
		.group = worker->group, .topic = worker->tasks_topic, .wake_fd = worker->wake_fd, .queue = worker->queue, .queue_room = room,
		.in_hand_max = room + (size_t)worker->settings.slots + UNACKNOWLEDGED_MAX, .unusable = unusable, .serve = serve, .context = worker};
	return intake_open(&setup, &worker->intake, err);
}

static enum status start(struct kser_worker *worker, struct error *err)
{
	size_t slots = (size_t)worker->settings.slots;
	size_t room = 2 * slots > WAITING_MIN ? 2 * slots : WAITING_MIN;
	worker->queue = queue_new(room, slots, wake, worker);
	worker->later = later_new(wake, worker);
	enum status status = open_replies(worker, err);
	if (!status)
		status = wait_for_topic(worker, worker->results_topic, err);
	if (!status)
		status = wait_for_topic(worker, worker->tasks_topic, err);
	if (!status)
		status = open_intake(worker, room, err);
	if (status)
		return status;
	struct slots_setup setup = {.queue = worker->queue, .entrypoints = &worker->entrypoints, .replies = worker->replies, .later = worker->later,
		.worker = slice_of(worker->incarnation), .threads_max = slots};
	worker->slots = slots_start(&setup);
	beat(worker, false);
	log_info("ready", "worker", worker->incarnation, "topic", worker->tasks_topic, "slots", LOG_INT(slots));
	return E_OK;
}

/* ---- leaving ---- */

static void cancel(struct kser_task *task)
{
	atomic_store(&task->cancelled, true);
}

/* Waits for what runs. False: some did not end in time. */
static bool drain(struct kser_worker *worker)
{
	int64_t until_ms = clock_monotonic_ms() + worker->settings.drain_ms;
	enum status status = E_OK;
	struct error err;
	intake_stop(worker->intake);
	log_info("leaving", "in_hand", LOG_INT(intake_in_hand(worker->intake)));
	while (!status && intake_in_hand(worker->intake) > 0) {
		int64_t left_ms = until_ms - clock_monotonic_ms();
		if (left_ms <= 0 || signals_count() > 1)
			return false;
		serve(worker, (int)sooner(left_ms, next_wait_ms(worker)));
		status = intake_take(worker->intake, &err);
		intake_keep_up(worker->intake);
	}
	return intake_in_hand(worker->intake) == 0;
}

static void give_up(struct kser_worker *worker)
{
	log_warning("gave up waiting for tasks, they will be run again", "in_hand", LOG_INT(intake_in_hand(worker->intake)));
	intake_visit(worker->intake, cancel);
	const uint64_t one = 1;
	ssize_t written = write(worker->commands.stop_fd, &one, sizeof one);
	(void)written;
}

/* Whether all was done in order. */
static bool leave(struct kser_worker *worker)
{
	bool drained = worker->intake == NULL || drain(worker);
	bool hurry = signals_count() > 1;
	if (!drained)
		give_up(worker);
	if (worker->queue)
		queue_close(worker->queue);
	if (worker->slots)
		worker->abandoned = !slots_join(worker->slots, hurry ? 0 : GIVE_UP_MS);
	if (worker->intake)
		beat(worker, true);
	intake_close(worker->intake, hurry ? CLOSE_MS / 6 : CLOSE_MS, !worker->abandoned);
	/* Threads that nobody waits for may still want to send. */
	if (!worker->abandoned)
		replies_close(worker->replies, hurry ? 0 : LAST_WORDS_MS);
	log_info("left");
	return drained;
}

int kser_worker_run(struct kser_worker *worker)
{
	struct error err;
	if (add_entrypoints(worker, &err)) {
		log_error("cannot start", "error", err.text);
		return 2;
	}
	signals_catch(worker->wake_fd);
	enum status status = start(worker, &err);
	if (!status)
		status = serve_until_stop(worker, &err);
	if (status && status != E_CONFLICT)
		log_error("cannot go on", "error", err.text);
	bool in_order = leave(worker);
	signals_release();
	if (status == E_INVALID)
		return 2;
	return (status && status != E_CONFLICT) || !in_order ? 1 : 0;
}
