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
#include "common/fault.h"
#include "common/kafka.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "worker/answer.h"
#include "worker/control.h"
#include "worker/hooks.h"
#include "worker/intake.h"
#include "worker/lifecycle.h"
#include "worker/measures.h"
#include "worker/plugin.h"
#include "worker/recall.h"
#include "worker/report.h"
#include "worker/reporter.h"
#include "worker/settings.h"
#include "worker/signals.h"
#include "worker/slots.h"
#include "worker/spans.h"
#include "worker/stock.h"
#include "worker/task.h"
#include "worker/task_log.h"

/* A task that is to run alone waits so long for the others, and one behind full slots before it may be handed back. */
#define ALONE_WAIT_MS 2000
#define SPARE_WAIT_MS 2000

/* Between looks whether more threads are needed. */
#define LOOK_MS 50

/* Waiting for a broker or a topic: from the first to the last. */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 5000

#define METADATA_TIMEOUT_MS 1000

/* Commands that are given up get a grace of two seconds, then their threads end; in a hurry what does not end at once is left. */
#define GIVE_UP_MS 3000
#define HURRY_MS 500

/* For the last commit and leaving the group, and for the last heartbeat. */
#define CLOSE_MS 6000
#define LAST_WORDS_MS 1000
#define LAST_SPANS_MS 2000

/* Replies on their way to the broker, beyond what waits and runs. */
#define UNACKNOWLEDGED_MAX 2048

/* Tasks that wait for a slot: enough to keep slots busy while the next records come. */
#define WAITING_MIN 256

static char session_property[] = "session.timeout.ms";
static char interval_property[] = "heartbeat.interval.ms";
static char poll_property[] = "max.poll.interval.ms";
static char poll_value[] = "86400000";

struct kser_worker {
	struct worker_settings settings;
	struct entrypoints entrypoints;
	struct buffer mistakes; /* of registrations, one a line */
	char host[65];
	char incarnation[100];
	char tasks_topic[250];
	char results_topic[250];
	char control_topic[250];
	char group[250];
	char launcher[PATH_MAX];
	struct command_host commands;
	struct properties properties;
	int wake_fd;
	atomic_bool stopping;
	struct hand hand;
	struct gate gate;
	struct claims claims;
	struct releases releases;
	struct queue *queue;
	struct later *later;
	struct recall recall;
	struct replies *replies;
	struct reporter *reporter;
	struct control *control;
	struct slots *slots;
	struct intake *intake;
	struct otlp *otlp;    /* NULL: no traces are exported */
	struct spans spans;
	struct measures measures;
	struct answer answer; /* for what this thread answers */
	int tasks_partitions; /* of the topic */
	int64_t look_ms;
	int hangups;          /* that were heeded */
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
	topics_named(&topics, "control", worker->control_topic);
	topics_workers(&topics, worker->settings.queue, worker->group);
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
	char session[24], interval[24];
	snprintf(session, sizeof session, "%" PRId64, worker->settings.session_ms);
	snprintf(interval, sizeof interval, "%" PRId64, worker->settings.session_ms / 4);
	struct property own[] = {
		{session_property, session},
		{interval_property, interval},
		/* The I/O thread polls whatever tasks do, but not while it waits for room; only a dead process is to lose its partitions. */
		{poll_property, poll_value},
	};
	worker->properties = properties_joined(&(struct properties){own, COUNT_OF(own)}, &worker->settings.kafka);
}

struct kser_worker *kser_worker_new(int argc, char **argv, int *status)
{
	struct kser_worker *worker = xcalloc(1, sizeof *worker);
	worker->wake_fd = -1;
	if (worker_settings_read(&worker->settings, argc, argv, status)) {
		kser_worker_free(worker);
		return NULL;
	}
	log_open(program_invocation_short_name, (enum log_level)worker->settings.log_level, (enum log_format)worker->settings.log_format);
	worker->entrypoints.worker = worker;
	worker->entrypoints.log_tasks = worker->settings.log_tasks;
	set_names(worker);
	find_launcher(worker);
	set_properties(worker);
	sealing_tell(worker->settings.sealing);
	worker->answer.sealing = worker->settings.sealing;
	const char *folder = settings_environment("TMPDIR");
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->commands = (struct command_host){.launcher = worker->launcher, .folder = folder ? folder : "/tmp"};
	return worker;
}

bool kser_worker_register(struct kser_worker *worker, const struct kser_entrypoint *entrypoint)
{
	struct kser_entrypoint known = {0};
	memcpy(&known, entrypoint, entrypoint->size < sizeof known ? entrypoint->size : sizeof known);
	struct error err;
	if (!entrypoints_add(&worker->entrypoints, &known, &err)) {
		task_log_registered(&worker->entrypoints, known.name);
		return true;
	}
	buffer_printf(&worker->mistakes, "%s\n", err.text);
	return false;
}

bool kser_worker_register_operation(struct kser_worker *worker, const struct kser_operation_class *operation)
{
	struct kser_operation_class known = {0};
	memcpy(&known, operation, operation->size < sizeof known ? operation->size : sizeof known);
	struct error err;
	if (!entrypoints_add_operation(&worker->entrypoints, &known, &err)) {
		task_log_registered(&worker->entrypoints, known.name);
		return true;
	}
	buffer_printf(&worker->mistakes, "%s\n", err.text);
	return false;
}

struct entrypoints *worker_entrypoints(struct kser_worker *worker)
{
	return &worker->entrypoints;
}

void kser_worker_free(struct kser_worker *worker)
{
	if (!worker || worker->abandoned)
		return;
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	answer_clear(&worker->answer);
	measures_close(&worker->measures);
	later_free(worker->later);
	queue_free(worker->queue);
	entrypoints_clear(&worker->entrypoints);
	buffer_clear(&worker->mistakes);
	properties_clear(&worker->properties);
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
		hooks_set(&entrypoint, &command->command);
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

/* ---- what comes back from the broker ---- */

static void acknowledged(void *context, struct outgoing *outgoing)
{
	struct kser_worker *worker = context;
	if (outgoing->kind == OUTGOING_REPORT) {
		reporter_done(worker->reporter, (struct report *)outgoing, true);
		return;
	}
	struct kser_task *task = (struct kser_task *)outgoing;
	(void)FAULT("worker.after_produce_before_offset");
	gate_forget(&worker->gate, task);
	hand_finish(&worker->hand, task);
}

static void given_up(void *context, struct outgoing *outgoing)
{
	const struct kser_worker *worker = context;
	reporter_done(worker->reporter, (struct report *)outgoing, false);
}

/* ---- answers of this thread ---- */

static void report_dead(struct kser_worker *worker, struct kser_task *task, struct slice bytes, const char *reason)
{
	struct dead_record dead = {.topic = slice_of(worker->tasks_topic), .partition = task->hold.partition->number, .offset = task->hold.offset,
		.bytes = bytes, .reason = slice_of(reason), .worker = slice_of(worker->incarnation)};
	struct buffer *record = &worker->answer.record;
	buffer_reset(record);
	message_add_dead(record, &dead);
	if (!replies_send(worker->replies, &task->reply, buffer_slice(record)))
		report_dead(worker, task, slice_of(""), "the record is unusable, and too large to be told");
}

static void unusable(void *context, struct kser_task *task, const char *reason)
{
	struct kser_worker *worker = context;
	metric_add(worker->measures.unusable, 1);
	log_warning("a record cannot be used", "topic", worker->tasks_topic, "partition", LOG_INT(task->hold.partition->number),
		"offset", LOG_INT(task->hold.offset), "reason", reason);
	report_dead(worker, task, task->message.text, reason);
}

static void refused(void *context, struct outgoing *outgoing, size_t bytes, const char *reason)
{
	struct kser_worker *worker = context;
	struct kser_task *task = (struct kser_task *)outgoing;
	log_warning("a reply was refused", "bytes", LOG_INT(bytes), "error", reason);
	if (task->message.uuid.text.length == 0) {
		report_dead(worker, task, slice_of(""), "the record is unusable, and too large to be told");
		return;
	}
	answer_make_refused(&worker->answer, task, bytes, reason, slice_of(worker->incarnation));
	bool sent = replies_send(worker->replies, &task->reply, buffer_slice(&worker->answer.record));
	assert(sent);
}

/* A task that slept has come to its end, or was told to end. */
static void send_slept(struct kser_worker *worker, struct kser_task *task)
{
	atomic_store(&task->answered, true);
	if (kser_task_cancelled(task) && task->keyed) {
		buffer_reset(&task->reply.text);
		release_add_one(&task->reply.text, task, RELEASE_STOPPED, slice_of(worker->incarnation));
	}
	if (task->keyed || !kser_task_cancelled(task))
		replies_send_kept(worker->replies, &task->reply);
	queue_done(worker->queue);
}

static void send_due(struct kser_worker *worker)
{
	int64_t now_ms = clock_monotonic_ms();
	for (struct kser_task *task; (task = later_take(worker->later, now_ms));)
		send_slept(worker, task);
}

/* ---- what orchestrators say ---- */

static void on_stop(void *context, const struct task_name *name)
{
	const struct kser_worker *worker = context;
	recall_stop(&worker->recall, name);
}

static void on_generation(void *context, int64_t generation)
{
	const struct kser_worker *worker = context;
	size_t count = recall_generation(&worker->recall, generation);
	if (count > 0)
		log_info("dropped tasks of another generation", "count", LOG_INT(count));
}

/* Our part of the free slots elsewhere: as large as our part of the partitions, so that those who hear the same do not all send as much. */
static size_t share_of(const struct kser_worker *worker, int64_t slots)
{
	int32_t partitions[PARTITIONS_MAX];
	int64_t ours = (int64_t)intake_partitions(worker->intake, partitions);
	int64_t all = worker->tasks_partitions > ours ? worker->tasks_partitions : ours;
	int64_t most = slots < SLOTS_MAX ? slots : SLOTS_MAX;
	return all > 0 ? (size_t)((most * ours + all - 1) / all) : 0;
}

static void on_spare(void *context, struct slice queue, int64_t slots)
{
	const struct kser_worker *worker = context;
	struct queue_state state = queue_state(worker->queue);
	bool full = state.alone || state.active >= (size_t)worker->settings.slots;
	if (!slice_is(queue, worker->settings.queue) || !full)
		return;
	size_t count = recall_waiting(&worker->recall, share_of(worker, slots), clock_monotonic_ms() - SPARE_WAIT_MS);
	if (count > 0)
		log_info("handed back waiting tasks, other workers have free slots", "count", LOG_INT(count));
}

/* ---- serving ---- */

/* What time alone brings about. */
static void heed_time(struct kser_worker *worker)
{
	int64_t now_ms = clock_monotonic_ms();
	claims_look(&worker->claims, now_ms, intake_is_full(worker->intake));
	recall_busy(&worker->recall, now_ms - ALONE_WAIT_MS);
	size_t ended = reporter_is_silent(worker->reporter) ? recall_silent(&worker->recall) : 0;
	if (ended > 0)
		log_warning("heartbeats are not acknowledged, ending tasks that are to stop then", "count", LOG_INT(ended));
}

/* SIGHUP: the keys' file may say something else. */
static void heed_hangups(struct kser_worker *worker)
{
	int count = signals_hangups();
	if (count != worker->hangups)
		sealing_reload(worker->settings.sealing);
	worker->hangups = count;
}

/* Sleeps until something happens, at most so long; then serves what has. */
static void serve(void *context, int wait_ms)
{
	struct kser_worker *worker = context;
	bool waiting = intake_is_waiting(worker->intake);
	replies_want_wake(worker->replies, waiting);
	if (waiting)
		replies_serve(worker->replies);
	reporter_send_asked(worker->reporter);
	wait_for_wake(worker, wait_ms);
	heed_hangups(worker);
	replies_serve(worker->replies);
	send_due(worker);
	control_serve(worker->control);
	heed_time(worker);
	reporter_send_asked(worker->reporter);
	reporter_beat(worker->reporter);
	measures_note_round(&worker->measures, &worker->hand, !reporter_is_silent(worker->reporter));
}

static void look_at_slots(struct kser_worker *worker, int64_t now_ms)
{
	if (now_ms < worker->look_ms)
		return;
	slots_look(worker->slots);
	worker->look_ms = now_ms + LOOK_MS;
}

static int next_wait_ms(struct kser_worker *worker)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t next = clock_sooner(later_next_ms(worker->later), intake_next_ms(worker->intake));
	next = clock_sooner(next, claims_next_ms(&worker->claims));
	next = clock_sooner(next, now_ms + reporter_wait_ms(worker->reporter));
	if (queue_state(worker->queue).waiting > 0) {
		look_at_slots(worker, now_ms);
		next = clock_sooner(next, worker->look_ms);
	}
	int64_t wait_ms = next - now_ms;
	return wait_ms > 0 ? (int)clock_sooner(wait_ms, INT_MAX) : 0;
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
static enum status wait_for_topic(struct kser_worker *worker, const char *topic, int *partitions, struct error *err)
{
	for (int64_t wait_ms = BACKOFF_FIRST_MS;; wait_ms = clock_sooner(2 * wait_ms, BACKOFF_LAST_MS)) {
		*partitions = 0;
		enum status status = replies_find_topic(worker->replies, topic, METADATA_TIMEOUT_MS, partitions, err);
		if (!status && *partitions > 0)
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
		.topic = worker->results_topic, .sealing = worker->settings.sealing, .acknowledged = acknowledged, .given_up = given_up, .refused = refused, .wake = wake,
		.acknowledged_seconds = worker->measures.acknowledged, .context = worker};
	return replies_open(&setup, &worker->replies, err);
}

static enum status open_control(struct kser_worker *worker, struct error *err)
{
	struct control_setup setup = {.brokers = worker->settings.brokers, .properties = &worker->properties, .client_id = "kser-worker",
		.topic = worker->control_topic, .sealing = worker->settings.sealing, .ears = {.stop = on_stop, .generation = on_generation, .spare = on_spare}, .wake = wake, .context = worker};
	enum status status = wait_for_topic(worker, worker->control_topic, &setup.partitions, err);
	return status ? status : control_open(&setup, &worker->control, err);
}

static enum status open_intake(struct kser_worker *worker, size_t room, struct error *err)
{
	struct intake_setup setup = {.brokers = worker->settings.brokers, .properties = &worker->properties, .client_id = "kser-worker",
		.group = worker->group, .topic = worker->tasks_topic, .wake_fd = worker->wake_fd, .queue = worker->queue, .queue_room = room, .rejoin_ms = worker->settings.rejoin_ms,
		.in_hand_max = room + (size_t)worker->settings.slots + UNACKNOWLEDGED_MAX, .hand = &worker->hand, .gate = &worker->gate,
		.claims = &worker->claims, .sealing = worker->settings.sealing, .unusable = unusable, .serve = serve,
		.lag = worker->measures.lag, .context = worker};
	enum status status = wait_for_topic(worker, worker->tasks_topic, &worker->tasks_partitions, err);
	return status ? status : intake_open(&setup, &worker->intake, err);
}

static void make_parts(struct kser_worker *worker, size_t slots, size_t room)
{
	worker->queue = queue_new(room, slots, wake, worker);
	worker->later = later_new(wake, worker);
	worker->claims = (struct claims){.hand = &worker->hand, .after_ms = worker->settings.claim_after_ms};
	worker->releases = (struct releases){.hand = &worker->hand};
	worker->recall = (struct recall){.hand = &worker->hand, .gate = &worker->gate, .queue = worker->queue, .later = worker->later, .releases = &worker->releases};
}

static void make_reporter(struct kser_worker *worker, size_t slots)
{
	struct reporter_setup setup = {.worker = slice_of(worker->incarnation), .host = worker->host, .queue_name = worker->settings.queue, .slots = slots,
		.entrypoints = &worker->entrypoints, .claims = &worker->claims, .releases = &worker->releases, .queue = worker->queue, .replies = worker->replies,
		.gate = &worker->gate, .beat_ms = worker->settings.beat_ms, .silence_ms = worker->settings.silence_ms};
	worker->reporter = reporter_new(&setup);
}

static enum status open_tracing(struct kser_worker *worker, struct error *err)
{
	enum status status = otlp_open(&worker->settings.otlp, worker->incarnation, &worker->otlp, err);
	if (worker->otlp) {
		spans_init(&worker->spans, worker->otlp, slice_of(worker->incarnation));
		lifecycle_observe(&worker->entrypoints, &worker->spans.observer);
	}
	return status;
}

static enum status start(struct kser_worker *worker, struct error *err)
{
	size_t slots = (size_t)worker->settings.slots;
	size_t room = 2 * slots > WAITING_MIN ? 2 * slots : WAITING_MIN;
	int partitions;
	make_parts(worker, slots, room);
	measures_open(&worker->measures, &worker->settings, worker->host, &worker->entrypoints, worker->queue);
	enum status status = open_tracing(worker, err);
	if (!status)
		status = measures_serve(&worker->measures, &worker->settings, err);
	if (!status)
		status = open_replies(worker, err);
	if (!status)
		make_reporter(worker, slots);
	if (!status)
		status = wait_for_topic(worker, worker->results_topic, &partitions, err);
	if (!status)
		status = open_control(worker, err);
	if (!status)
		status = open_intake(worker, room, err);
	if (status)
		return status;
	reporter_set_intake(worker->reporter, worker->intake);
	struct slots_setup setup = {.queue = worker->queue, .entrypoints = &worker->entrypoints, .replies = worker->replies, .later = worker->later,
		.sealing = worker->settings.sealing, .worker = slice_of(worker->incarnation), .measures = &worker->measures, .threads_max = slots};
	worker->slots = slots_start(&setup);
	reporter_beat(worker->reporter);
	log_info("ready", "worker", worker->incarnation, "topic", worker->tasks_topic, "slots", LOG_INT(slots));
	return E_OK;
}

/* ---- leaving ---- */

/* Serves until nothing is in hand or, if `at_signal`, a second signal comes. False: not within that time. */
static bool empty_hand(struct kser_worker *worker, int64_t timeout_ms, bool at_signal)
{
	int64_t until_ms = clock_monotonic_ms() + timeout_ms;
	enum status status = E_OK;
	struct error err;
	while (!status && worker->hand.count > 0) {
		int64_t left_ms = until_ms - clock_monotonic_ms();
		if (left_ms <= 0 || (at_signal && signals_count() > 1))
			return false;
		serve(worker, (int)clock_sooner(left_ms, next_wait_ms(worker)));
		status = intake_take(worker->intake, &err);
		intake_keep_up(worker->intake);
	}
	return worker->hand.count == 0;
}

/* Hands back what was not started and waits for what runs; what takes too long is ended. False: something is left in hand. */
static bool drain(struct kser_worker *worker)
{
	(void)FAULT("worker.drain_begin");
	intake_stop(worker->intake);
	recall_not_started(&worker->recall);
	log_info("leaving", "in_hand", LOG_INT(worker->hand.count));
	if (empty_hand(worker, worker->settings.drain_ms, true))
		return true;
	log_warning("gave up waiting for tasks, they are ended and will be run again", "in_hand", LOG_INT(worker->hand.count));
	recall_running(&worker->recall);
	return empty_hand(worker, signals_count() > 1 ? HURRY_MS : GIVE_UP_MS, false);
}

/* Whether all was done in order. */
static bool leave(struct kser_worker *worker)
{
	bool drained = worker->intake == NULL || drain(worker);
	bool hurry = signals_count() > 1;
	measures_stop(&worker->measures);
	if (worker->queue)
		queue_close(worker->queue);
	if (worker->slots)
		worker->abandoned = !slots_join(worker->slots, hurry ? HURRY_MS : LAST_WORDS_MS);
	if (worker->intake)
		reporter_say_farewell(worker->reporter);
	control_close(worker->control, hurry ? 0 : LAST_WORDS_MS);
	intake_close(worker->intake, hurry ? CLOSE_MS / 6 : CLOSE_MS, !worker->abandoned);
	/* Threads that nobody waits for may still want to send. */
	if (!worker->abandoned) {
		replies_close(worker->replies, hurry ? 0 : LAST_WORDS_MS);
		reporter_free(worker->reporter);
		otlp_close(worker->otlp, hurry ? 0 : LAST_SPANS_MS);
	}
	(void)FAULT("worker.drain_end");
	log_info("left", "unfinished", drained ? NULL : "yes");
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
	worker->hangups = 0;
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
