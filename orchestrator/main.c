#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/memory.h"
#include "common/metrics_server.h"
#include "orchestrator/keeper.h"
#include "orchestrator/lane.h"
#include "orchestrator/retention.h"
#include "orchestrator/rounds.h"
#include "orchestrator/settings.h"
#include "orchestrator/tracing.h"

enum { EXIT_WRONG = 2, EXIT_REFUSED = 5 };

/* What the thread of signals needs. */
struct heard {
	struct cell *cell;
	struct sealing *sealing;
};

static void fill(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
	sigaddset(signals, SIGUSR1); /* the main thread is done */
}

/* The next one but SIGHUP, at which the keys are read again. */
static int next_signal(struct sealing *sealing)
{
	sigset_t signals;
	int number;
	fill(&signals);
	for (;;) {
		sigwait(&signals, &number);
		if (number != SIGHUP)
			return number;
		sealing_reload(sealing);
	}
}

/* SIGTERM and SIGINT stop in order; a second one means now. */
static void *wait_for_signals(void *argument)
{
	const struct heard *heard = argument;
	if (next_signal(heard->sealing) == SIGUSR1)
		return NULL;
	log_info("stopping");
	cell_stop(heard->cell);
	if (next_signal(heard->sealing) != SIGUSR1) {
		log_warning("stopping at once");
		_exit(EXIT_FAILURE);
	}
	return NULL;
}

static void block_signals(void)
{
	sigset_t signals;
	fill(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static enum status check(const struct settings *settings, struct error *err)
{
	enum status status = topics_check(settings->topic_prefix, "", err);
	if (!status)
		status = otlp_check(&settings->otlp, err);
	if (!status && settings->silence_ms <= settings->lease_ms)
		status = fail(err, E_INVALID, "silence-limit: must be more than keeper-lease");
	if (!status && settings->lease_ms < 2 * settings->beat_ms)
		status = fail(err, E_INVALID, "keeper-lease: must be at least twice the beat-interval");
	if (!status && settings->claim_lease_ms <= settings->round_ms)
		status = fail(err, E_INVALID, "claim-lease: must be more than the round-interval");
	if (!status && settings->retention_ms > 0 && settings->retention_ms < RETENTION_MS_MIN)
		status = fail(err, E_INVALID, "retention: must be 0s, for ever, or at least 1h");
	return status;
}

/* Without its threads this process can do nothing. */
static void start(pthread_t *thread, void *(*function)(void *), void *argument)
{
	if (pthread_create(thread, NULL, function, argument) != 0) {
		log_error("cannot start a thread");
		abort();
	}
}

/* Opens the first lanes and runs all threads until the cell stops. */
static enum status run_threads(struct cell *cell, struct keeper *keeper, struct rounds *rounds, struct error *err)
{
	struct lane *lanes[CELL_THREADS_MAX] = {0};
	struct lane_place places[CELL_THREADS_MAX];
	pthread_t threads[CELL_THREADS_MAX], keeper_thread, rounds_thread;
	int count = (int)cell_settings(cell)->lanes, started = 0;
	enum status status = E_OK;
	for (int i = 0; i < count && !status; i++)
		status = lane_open(cell, i, &lanes[i], err);
	if (!status) {
		start(&keeper_thread, keeper_run, keeper);
		start(&rounds_thread, rounds_run, rounds);
		for (; started < count; started++)
			start(&threads[started], lane_run, lanes[started]);
		for (; started < (int)cell_settings(cell)->lanes_max; started++) {
			places[started] = (struct lane_place){cell, started};
			start(&threads[started], lane_run_when_needed, &places[started]);
		}
		log_info("ready", "lanes", LOG_INT(count), "prefix", cell_settings(cell)->topic_prefix);
		for (int i = 0; i < started; i++)
			pthread_join(threads[i], NULL);
		pthread_join(rounds_thread, NULL);
		pthread_join(keeper_thread, NULL);
	}
	for (int i = 0; i < count; i++)
		lane_free(lanes[i]);
	return status;
}

static bool is_well(void *context)
{
	return cell_may_dispatch(context);
}

static enum status serve_metrics(struct cell *cell, struct metrics_server **server, struct error *err)
{
	const struct settings *settings = cell_settings(cell);
	if (!settings->metrics_enabled)
		return E_OK;
	const struct metrics_server_setup setup = {.address = settings->metrics_address, .port = settings->metrics_port,
		.metrics = cell_measures(cell)->metrics, .healthy = is_well, .context = cell};
	return metrics_server_start(&setup, server, err);
}

static int run(struct cell *cell)
{
	struct error err = {0};
	struct keeper *keeper = NULL;
	struct rounds *rounds = NULL;
	struct tracing *tracing = NULL;
	struct retention *retention = NULL;
	struct metrics_server *server = NULL;
	enum status status = serve_metrics(cell, &server, &err);
	if (!status)
		status = keeper_open(cell, &keeper, &err);
	if (!status)
		status = rounds_open(cell, &rounds, &err);
	if (!status)
		status = tracing_open(cell, &tracing, &err);
	if (!status)
		status = retention_open(cell, &retention, &err);
	if (!status)
		status = run_threads(cell, keeper, rounds, &err);
	bool asked = cell_stopping(cell);
	metrics_server_stop(server);
	if ((tracing || retention) && status)
		cell_stop(cell);
	retention_close(retention);
	tracing_close(tracing);
	rounds_free(rounds);
	keeper_free(keeper);
	if (cell_failed(cell))
		return EXIT_FAILURE;
	if (status == E_OK || asked)
		return EXIT_SUCCESS;
	log_error("cannot run", "error", err.text);
	return status == E_CONFLICT ? EXIT_REFUSED : status == E_INVALID ? EXIT_WRONG : EXIT_FAILURE;
}

/* Reads the settings and opens the keys. SETTINGS_WRONG: all that is wrong was told. */
static enum settings_answer prepare(int argc, char **argv, struct settings *settings, struct sealing **sealing)
{
	struct buffer errors CLEANUP(buffer_clear) = {0};
	struct error err;
	int first = argc;
	enum settings_answer answer = settings_read(&orchestrator_program, argc, argv, settings, &settings->kafka, NULL, NULL, &first, &errors);
	if (answer == SETTINGS_RUN && first < argc)
		buffer_printf(&errors, "%s: takes no arguments%s\n", argv[first], settings_argument_hint(argv[first]));
	if (answer == SETTINGS_RUN && check(settings, &err))
		buffer_printf(&errors, "%s\n", err.text);
	if (answer == SETTINGS_RUN && sealing_open(&settings->sealing, sealing, &err))
		buffer_printf(&errors, "%s\n", err.text);
	if (errors.length == 0)
		return answer;
	fprintf(stderr, "%s", errors.bytes);
	return SETTINGS_WRONG;
}

static int serve(const struct settings *settings, struct sealing *sealing)
{
	log_open(orchestrator_program.name, (enum log_level)settings->log_level, (enum log_format)settings->log_format);
	block_signals();
	sealing_tell(sealing);
	struct heard heard = {.cell = cell_new(settings, sealing), .sealing = sealing};
	pthread_t signals;
	start(&signals, wait_for_signals, &heard);
	int code = run(heard.cell);
	pthread_kill(signals, SIGUSR1);
	pthread_join(signals, NULL);
	cell_free(heard.cell);
	return code;
}

int main(int argc, char **argv)
{
	struct settings settings = {0};
	struct sealing *sealing = NULL;
	int code = EXIT_SUCCESS;
	switch (prepare(argc, argv, &settings, &sealing)) {
	case SETTINGS_RUN: code = serve(&settings, sealing); break;
	case SETTINGS_WRONG: code = EXIT_WRONG; break;
	case SETTINGS_DONE: break;
	}
	sealing_free(sealing);
	properties_clear(&settings.kafka);
	return code;
}
