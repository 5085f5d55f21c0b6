/* A lane's consumer on librdkafka's mock cluster, with errors that the broker is told to give. */

#include "orchestrator/intake.h"

#include <criterion/criterion.h>
#include <librdkafka/rdkafka_mock.h>

#include "common/clock.h"
#include "tests/support/ignore_log.h"

#define WAIT_MS 30000

enum { API_OFFSET_COMMIT = 8 };

struct stage {
	rd_kafka_t *owner; /* a producer, too */
	rd_kafka_mock_cluster_t *mock;
	struct settings settings;
	struct cell *cell;
	struct intake *intake;
};

static struct stage stage;
static struct property not_known = {.name = (char[]){"no.such.property"}, .value = (char[]){"1"}};

static void revoked(void *context, int64_t deadline_ms)
{
	(void)context;
	(void)deadline_ms;
}

static void setup(void)
{
	char text[200];
	struct error err = {0};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", text, sizeof text);
	stage.owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	stage.mock = rd_kafka_handle_mock_cluster(stage.owner);
	rd_kafka_mock_topic_create(stage.mock, "t.results", 1, 1);
	rd_kafka_mock_topic_create(stage.mock, "t.operations", 1, 1);
	stage.settings = (struct settings){.brokers = rd_kafka_mock_cluster_bootstraps(stage.mock), .topic_prefix = "t", .rejoin_ms = WAIT_MS, .metrics_enabled = true};
	stage.cell = cell_new(&stage.settings, NULL);
	cr_assert_eq(intake_open(stage.cell, "test", revoked, NULL, &stage.intake, &err), E_OK, "%s", err.text);
}

static void teardown(void)
{
	intake_close(stage.intake, 2000);
	cell_free(stage.cell);
	rd_kafka_destroy(stage.owner);
}

static void write_to(const char *topic)
{
	cr_assert_eq(rd_kafka_producev(stage.owner, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE((void *)(uintptr_t)"x", 1), RD_KAFKA_V_END), 0);
}

static void write_one(void)
{
	write_to("t.results");
}

/* Receives the next reply. */
static struct origin receive_one(void)
{
	rd_kafka_message_t *record = NULL;
	for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; !record && clock_monotonic_ms() < until_ms;)
		record = intake_next(stage.intake, 100);
	cr_assert_not_null(record);
	struct origin origin = intake_origin(stage.intake, record);
	rd_kafka_message_destroy(record);
	return origin;
}

static void finish_one(void)
{
	write_one();
	intake_finish(stage.intake, receive_one());
}

/* Whether the lag that is shown becomes `wanted`; further records may come meanwhile, unfinished. */
static bool lag_becomes(const char *wanted)
{
	char line[100];
	struct buffer text CLEANUP(buffer_clear) = {0};
	snprintf(line, sizeof line, "\nkser_lag_records{topic=\"results\"} %s\n", wanted);
	for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS / 3; clock_monotonic_ms() < until_ms;) {
		rd_kafka_message_t *record = intake_next(stage.intake, 50);
		if (record)
			rd_kafka_message_destroy(record);
		intake_measure_lag(stage.intake);
		buffer_reset(&text);
		metrics_write(cell_measures(stage.cell)->metrics, &text);
		buffer_add(&text, "", 1);
		if (strstr(text.bytes, line))
			return true;
	}
	return false;
}

static rd_kafka_t *another_member(void)
{
	struct error err = {0};
	rd_kafka_t *member;
	cr_assert_eq(kafka_consumer(stage.settings.brokers, &stage.settings.kafka, "another", "t.orchestrators", NULL, NULL, &member, &err), E_OK, "%s", err.text);
	return member;
}

/* What the group has committed, once that is `wanted`, while the intake goes on as in a lane without records. */
static int64_t committed(int64_t wanted)
{
	rd_kafka_t *member = another_member();
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, "t.results", 0);
	int64_t until_ms = clock_monotonic_ms() + WAIT_MS / 2, offset = -1;
	do {
		intake_commit(stage.intake, false);
		cr_assert_null(intake_next(stage.intake, 20));
		if (rd_kafka_committed(member, list, 5000) == RD_KAFKA_RESP_ERR_NO_ERROR)
			offset = list->elems[0].offset;
	} while (offset != wanted && clock_monotonic_ms() < until_ms);
	rd_kafka_topic_partition_list_destroy(list);
	kafka_consumer_close(member, 1000);
	return offset;
}

/* The broker refuses one commit, and nothing else is finished that would bring another. */
Test(intake, a_commit_that_failed_is_repeated, .init = setup, .fini = teardown, .timeout = 60)
{
	finish_one();
	cr_assert_eq(committed(1), 1);
	rd_kafka_mock_push_request_errors(stage.mock, API_OFFSET_COMMIT, 1, RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE);
	finish_one();
	cr_assert_eq(committed(2), 2);
}

/* Also where nothing was committed, or the broker refuses to commit. */
Test(intake, the_lag_counts_what_is_not_finished, .init = setup, .fini = teardown, .timeout = 60)
{
	for (int i = 0; i < 3; i++)
		write_one();
	struct origin first = receive_one();
	cr_assert(lag_becomes("3"));
	rd_kafka_mock_push_request_errors(stage.mock, API_OFFSET_COMMIT, 1, RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE);
	intake_finish(stage.intake, first);
	intake_commit(stage.intake, true);
	cr_assert(lag_becomes("2"));
	intake_commit(stage.intake, true);
	cr_assert(lag_becomes("2"));
}

/* A member that has received nothing yet counts from where the group stands. */
Test(intake, the_lag_of_a_new_member_is_that_of_its_group, .init = setup, .fini = teardown, .timeout = 60)
{
	finish_one();
	cr_assert_eq(committed(1), 1);
	intake_rejoin(stage.intake);
	write_one();
	cr_assert(lag_becomes("1"));
	intake_rejoin(stage.intake);
	cr_assert(lag_becomes("1"));
}

/* The process ends then; until it has, the lane's calls find nothing and do no harm. */
Test(intake, a_lane_that_cannot_join_anew_ends_its_process, .init = setup, .fini = teardown, .timeout = 60)
{
	finish_one();
	stage.settings.kafka = (struct properties){&not_known, 1};
	intake_rejoin(stage.intake);
	cr_assert(cell_failed(stage.cell));
	cr_assert_null(intake_next(stage.intake, 0));
	cr_assert_eq(intake_open_records(stage.intake), 0);
	intake_commit(stage.intake, true);
}

/* The client may still be starting a partition that was just assigned, and must not be disturbed. */
Test(intake, submissions_are_paused_from_their_first_record_on, .init = setup, .fini = teardown, .timeout = 60)
{
	intake_pause_submissions(stage.intake, true);
	write_to("t.operations");
	cr_assert(origin_is_submission(receive_one()));
	write_to("t.operations");
	cr_assert_eq(rd_kafka_flush(stage.owner, WAIT_MS), 0);
	write_one();
	cr_assert_not(origin_is_submission(receive_one()));
	intake_pause_submissions(stage.intake, false);
	cr_assert(origin_is_submission(receive_one()));
}
