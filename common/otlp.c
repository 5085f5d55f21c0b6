#include "common/otlp.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/thread.h"
#include "common/url.h"
#include "common/utf8.h"

#define GATHER_MS 500          /* from the first span of a batch until it is sent; sooner when half of the room is used */
#define CONNECT_TIMEOUT_MS 3000
#define POST_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 500     /* doubled each time, and up to a half more so that not all come at once */
#define RETRY_LAST_MS 10000
#define RETRY_AFTER_MAX_MS 30000 /* a receiver that asks for more is asked sooner */
#define RETRY_FOR_MS 60000     /* then the batch is dropped: newer spans are worth more */
#define TELL_MS 60000          /* between two lines about what was dropped */
#define ANSWER_BYTES_MAX 4096  /* kept of an answer: it is empty or says how many spans were refused and why */

enum outcome { OUTCOME_TAKEN, OUTCOME_RETRY, OUTCOME_REFUSED };

struct otlp {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;

	/* under the lock */
	struct buffer pending; /* spans as JSON, each with a comma before it */
	size_t pending_count;
	int64_t first_ms;      /* when the first of them came */
	uint64_t lost;
	bool closing;
	int64_t close_ms;      /* when it must be over */

	/* the exporter's thread */
	CURL *curl;
	struct curl_slist *headers;
	char *url;
	struct buffer shown;   /* the same for logs, without secrets */
	struct buffer head;    /* what stands before the spans of each request */
	struct buffer sending;
	size_t sending_count;
	struct buffer body;
	struct buffer answer;
	char curl_error[CURL_ERROR_SIZE];
	struct error problem;  /* of the last post */
	bool troubled;         /* told that the receiver does not take them */
	uint64_t told;         /* of `lost` */
	int64_t told_ms;
};

/* ---- settings ---- */

static bool is_given(const char *text)
{
	return text && text[0];
}

bool otlp_is_wanted(const struct otlp_settings *settings)
{
	return is_given(settings->traces_endpoint) || is_given(settings->endpoint) || is_given(settings->jaeger_host);
}

/* The URL, and the setting that it comes from. */
static const char *make_url(const struct otlp_settings *settings, struct buffer *url)
{
	if (is_given(settings->traces_endpoint)) {
		buffer_add_text(url, settings->traces_endpoint);
		return "otlp-traces-endpoint";
	}
	if (is_given(settings->endpoint)) {
		size_t length = strlen(settings->endpoint);
		while (length > 0 && settings->endpoint[length - 1] == '/')
			length--;
		buffer_printf(url, "%.*s/v1/traces", (int)length, settings->endpoint);
		return "otlp-endpoint";
	}
	bool bare_ipv6 = strchr(settings->jaeger_host, ':') && settings->jaeger_host[0] != '[';
	buffer_printf(url, bare_ipv6 ? "http://[%s]:4318/v1/traces" : "http://%s:4318/v1/traces", settings->jaeger_host);
	return "jaeger-host";
}

static enum status check_url(const char *url, const char *setting, struct error *err)
{
	CURLU *parsed = curl_url();
	CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	char *scheme = NULL;
	if (!code)
		code = curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0);
	bool is_http = scheme && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
	curl_free(scheme);
	curl_url_cleanup(parsed);
	if (code)
		return fail(err, E_INVALID, "%s: no URL of http or https can be made of it: %s", setting, curl_url_strerror(code));
	return is_http ? E_OK : fail(err, E_INVALID, "%s: must be a URL of http or https", setting);
}

/* "name=value,name=value". `list` may be NULL: only checked. */
static enum status read_headers(const char *text, struct curl_slist **list, struct error *err)
{
	char *copy CLEANUP(free_pointer) = xstrdup(text ? text : "");
	char *rest = copy;
	for (char *pair = strsep(&rest, ","); pair; pair = strsep(&rest, ",")) {
		pair += strspn(pair, " \t");
		char *equals = strchr(pair, '=');
		if (*pair == '\0')
			continue;
		if (!equals || equals == pair)
			return fail(err, E_INVALID, "otlp-headers: must be name=value, separated by commas");
		*equals = '\0';
		int length;
		char *value = curl_easy_unescape(NULL, equals + 1, 0, &length);
		struct buffer header CLEANUP(buffer_clear) = {0};
		buffer_printf(&header, "%s: %.*s", pair, length, value ? value : "");
		curl_free(value);
		if (strpbrk(header.bytes, "\r\n"))
			return fail(err, E_INVALID, "otlp-headers: %.100s: has a line end", pair);
		if (list)
			*list = curl_slist_append(*list, header.bytes);
	}
	return E_OK;
}

enum status otlp_check(const struct otlp_settings *settings, struct error *err)
{
	if (!otlp_is_wanted(settings))
		return E_OK;
	struct buffer url CLEANUP(buffer_clear) = {0};
	const char *setting = make_url(settings, &url);
	enum status status = check_url(url.bytes, setting, err);
	return status ? status : read_headers(settings->headers, NULL, err);
}

/* ---- spans as JSON: 64 bit numbers are texts, ids are hex ---- */

/* At most so many bytes, and no half characters. */
static struct slice cut(struct slice text, size_t bytes_max)
{
	const char *at = text.start, *end = text.start + text.length;
	if (text.length <= bytes_max)
		return text;
	for (size_t length; at < end && (length = utf8_length(at, end)) > 0 && (size_t)(at - text.start) + length <= bytes_max;)
		at += length;
	return (struct slice){text.start, (size_t)(at - text.start)};
}

static void add_time(struct buffer *out, const char *key, int64_t us)
{
	buffer_add_text(out, key);
	buffer_add_int(out, us);
	buffer_add_text(out, "000\"");
}

static void add_text_attribute(struct buffer *out, const char *key, struct slice text)
{
	buffer_add_text(out, "{\"key\":\"");
	buffer_add_text(out, key);
	buffer_add_text(out, "\",\"value\":{\"stringValue\":");
	buffer_add_json_string(out, cut(text, TRACE_TEXT_BYTES_MAX));
	buffer_add_text(out, "}}");
}

static void add_attribute(struct buffer *out, const struct span_attribute *attribute)
{
	if (attribute->text.start) {
		add_text_attribute(out, attribute->key, attribute->text);
		return;
	}
	buffer_add_text(out, "{\"key\":\"");
	buffer_add_text(out, attribute->key);
	buffer_add_text(out, "\",\"value\":{\"intValue\":\"");
	buffer_add_int(out, attribute->number);
	buffer_add_text(out, "\"}}");
}

/* What went wrong, as OpenTelemetry's conventions have an exception. */
static void add_error(struct buffer *out, const struct span *span)
{
	struct slice reason = cut(span->reason, ERROR_INPUT_BYTES_MAX);
	add_time(out, ",\"events\":[{\"timeUnixNano\":\"", span->end_us);
	buffer_add_text(out, ",\"name\":\"exception\",\"attributes\":[");
	add_text_attribute(out, "exception.type", span->error);
	buffer_add_char(out, ',');
	add_text_attribute(out, "exception.message", reason);
	buffer_add_text(out, "]}],\"status\":{\"code\":2,\"message\":");
	buffer_add_json_string(out, reason.length ? reason : span->error);
	buffer_add_char(out, '}');
}

static void add_span(struct buffer *out, const struct span *span)
{
	buffer_add_text(out, ",{\"traceId\":\"");
	trace_add_hex(out, span->at.trace, sizeof span->at.trace);
	buffer_add_text(out, "\",\"spanId\":\"");
	trace_add_hex(out, span->at.id, sizeof span->at.id);
	if (span->parent) {
		buffer_add_text(out, "\",\"parentSpanId\":\"");
		trace_add_hex(out, span->parent, 8);
	}
	buffer_add_text(out, "\",\"flags\":1,\"name\":");
	buffer_add_json_string(out, cut(span->name, TRACE_TEXT_BYTES_MAX));
	buffer_printf(out, ",\"kind\":%d", (int)span->kind);
	add_time(out, ",\"startTimeUnixNano\":\"", span->start_us);
	add_time(out, ",\"endTimeUnixNano\":\"", span->end_us);
	for (size_t i = 0; i < span->attribute_count; i++) {
		buffer_add_text(out, i ? "," : ",\"attributes\":[");
		add_attribute(out, &span->attributes[i]);
	}
	buffer_add_text(out, span->attribute_count ? "]" : "");
	if (span->failed)
		add_error(out, span);
	buffer_add_char(out, '}');
}

static void make_head(struct otlp *otlp, const char *service, const char *instance)
{
	buffer_add_text(&otlp->head, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
	add_text_attribute(&otlp->head, "service.name", slice_of(service));
	buffer_add_char(&otlp->head, ',');
	add_text_attribute(&otlp->head, "service.instance.id", slice_of(instance));
	buffer_add_char(&otlp->head, ',');
	add_text_attribute(&otlp->head, "service.version", slice_of(KSER_VERSION));
	buffer_add_text(&otlp->head, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"kser\",\"version\":\"" KSER_VERSION "\"},\"spans\":[");
}

/* ---- who adds ---- */

void otlp_add(struct otlp *otlp, const struct span *span)
{
	if (!otlp || !span->at.sampled)
		return;
	struct buffer text CLEANUP(buffer_clear) = {0}; /* made before others are kept waiting */
	add_span(&text, span);
	pthread_mutex_lock(&otlp->lock);
	size_t before = otlp->pending.length;
	bool was_half_full = before >= TRACE_PENDING_BYTES_MAX / 2;
	if (before < TRACE_PENDING_BYTES_MAX) {
		buffer_add_slice(&otlp->pending, buffer_slice(&text));
		otlp->pending_count++;
		otlp->first_ms = before ? otlp->first_ms : clock_monotonic_ms();
	} else {
		otlp->lost++;
	}
	bool is_half_full = otlp->pending.length >= TRACE_PENDING_BYTES_MAX / 2;
	if (before == 0 || (is_half_full && !was_half_full))
		pthread_cond_signal(&otlp->wake);
	pthread_mutex_unlock(&otlp->lock);
}

uint64_t otlp_lost(struct otlp *otlp)
{
	if (!otlp)
		return 0;
	pthread_mutex_lock(&otlp->lock);
	uint64_t lost = otlp->lost;
	pthread_mutex_unlock(&otlp->lock);
	return lost;
}

/* ---- the exporter's thread ---- */

/* With the lock: until woken, or that time has come. */
static void wait_until(struct otlp *otlp, int64_t until_ms)
{
	struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
	pthread_cond_timedwait(&otlp->wake, &otlp->lock, &until);
}

/* Takes all that waits. False: closing, and there is nothing. */
static bool take(struct otlp *otlp)
{
	pthread_mutex_lock(&otlp->lock);
	while (!otlp->closing && otlp->pending.length == 0)
		pthread_cond_wait(&otlp->wake, &otlp->lock);
	while (!otlp->closing && otlp->pending.length < TRACE_PENDING_BYTES_MAX / 2 && clock_monotonic_ms() < otlp->first_ms + GATHER_MS)
		wait_until(otlp, otlp->first_ms + GATHER_MS);
	struct buffer empty = otlp->sending;
	buffer_reset(&empty);
	otlp->sending = otlp->pending;
	otlp->pending = empty;
	otlp->sending_count = otlp->pending_count;
	otlp->pending_count = 0;
	pthread_mutex_unlock(&otlp->lock);
	return otlp->sending.length > 0;
}

/* What is left until it must be over; INT64_MAX while it is not closing. */
static int64_t left_ms(struct otlp *otlp)
{
	pthread_mutex_lock(&otlp->lock);
	int64_t left = otlp->closing ? otlp->close_ms - clock_monotonic_ms() : INT64_MAX;
	pthread_mutex_unlock(&otlp->lock);
	return left;
}

static size_t keep_answer(char *bytes, size_t size, size_t count, void *context)
{
	struct otlp *otlp = context;
	size_t room = ANSWER_BYTES_MAX - otlp->answer.length;
	buffer_add(&otlp->answer, bytes, size * count < room ? size * count : room);
	return size * count;
}

/* For curl, about once a second: not 0 ends the transfer. */
static int is_over(void *context, curl_off_t down, curl_off_t downloaded, curl_off_t up, curl_off_t uploaded)
{
	(void)down, (void)downloaded, (void)up, (void)uploaded;
	return left_ms(context) <= 0;
}

static void lose(struct otlp *otlp, uint64_t count)
{
	pthread_mutex_lock(&otlp->lock);
	otlp->lost += count;
	pthread_mutex_unlock(&otlp->lock);
}

/* A receiver that took the request may have refused some of its spans: {"partialSuccess": {"rejectedSpans": "5", "errorMessage": …}}. */
static void read_answer(struct otlp *otlp)
{
	struct json_value root, partial, rejected, message;
	struct buffer scratch CLEANUP(buffer_clear) = {0};
	if (json_validate(buffer_slice(&otlp->answer), ANSWER_BYTES_MAX, &root, NULL) || root.kind != JSON_OBJECT || !json_find(root, "partialSuccess", &partial)
		|| partial.kind != JSON_OBJECT || !json_find(partial, "rejectedSpans", &rejected))
		return;
	struct slice digits = rejected.kind == JSON_STRING ? json_string(rejected, &scratch) : rejected.text;
	uint64_t count = strtoull(digits.start, NULL, 10);
	if (count == 0)
		return;
	lose(otlp, count < otlp->sending_count ? count : otlp->sending_count);
	struct slice text = json_find(partial, "errorMessage", &message) ? message.text : slice_of("it does not say why");
	(void)fail(&otlp->problem, E_INVALID, "the receiver refused some: %.*s", text.length < 300 ? (int)text.length : 300, text.start);
}

static bool is_for_later(long code)
{
	return code == 429 || code == 502 || code == 503 || code == 504;
}

/* One request with the batch. *after_ms: when the receiver wants it again; 0: it did not say. */
static enum outcome post(struct otlp *otlp, int64_t *after_ms)
{
	int64_t left = left_ms(otlp);
	long code = 0;
	curl_off_t after = 0;
	*after_ms = 0;
	buffer_reset(&otlp->answer);
	otlp->curl_error[0] = '\0';
	curl_easy_setopt(otlp->curl, CURLOPT_TIMEOUT_MS, left < POST_TIMEOUT_MS ? (long)(left > 0 ? left : 1) : (long)POST_TIMEOUT_MS);
	CURLcode failed = curl_easy_perform(otlp->curl);
	if (failed) {
		(void)fail(&otlp->problem, E_RETRY, "%s", otlp->curl_error[0] ? otlp->curl_error : curl_easy_strerror(failed));
		return OUTCOME_RETRY;
	}
	curl_easy_getinfo(otlp->curl, CURLINFO_RESPONSE_CODE, &code);
	if (code / 100 == 2) {
		read_answer(otlp);
		return OUTCOME_TAKEN;
	}
	(void)fail(&otlp->problem, E_RETRY, "the receiver answered %ld", code);
	if (!is_for_later(code))
		return OUTCOME_REFUSED;
	curl_easy_getinfo(otlp->curl, CURLINFO_RETRY_AFTER, &after);
	*after_ms = after < RETRY_AFTER_MAX_MS / 1000 ? (int64_t)after * 1000 : RETRY_AFTER_MAX_MS;
	return OUTCOME_RETRY;
}

static void note_trouble(struct otlp *otlp, enum outcome outcome)
{
	bool troubled = outcome != OUTCOME_TAKEN;
	if (troubled && !otlp->troubled)
		log_warning("could not export spans", "url", otlp->shown.bytes, "error", otlp->problem.text);
	else if (!troubled && otlp->troubled)
		log_info("spans are exported again", "url", otlp->shown.bytes);
	otlp->troubled = troubled;
}

/* Once a minute, and at the end. */
static void tell_lost(struct otlp *otlp, bool at_once)
{
	uint64_t lost = otlp_lost(otlp);
	int64_t now_ms = clock_monotonic_ms();
	if (lost == otlp->told || (!at_once && otlp->told_ms && now_ms - otlp->told_ms < TELL_MS))
		return;
	log_warning("spans were dropped", "count", LOG_INT(lost - otlp->told), "total", LOG_INT(lost), "url", otlp->shown.bytes,
		"error", otlp->problem.text[0] ? otlp->problem.text : NULL);
	otlp->told = lost;
	otlp->told_ms = now_ms;
}

/* Waits between two tries. False: closing. */
static bool pause_for(struct otlp *otlp, int64_t wait_ms)
{
	int64_t until_ms = clock_monotonic_ms() + wait_ms;
	pthread_mutex_lock(&otlp->lock);
	while (!otlp->closing && clock_monotonic_ms() < until_ms)
		wait_until(otlp, until_ms);
	bool goes_on = !otlp->closing;
	pthread_mutex_unlock(&otlp->lock);
	return goes_on;
}

static void make_body(struct otlp *otlp)
{
	buffer_reset(&otlp->body);
	buffer_add_slice(&otlp->body, buffer_slice(&otlp->head));
	buffer_add(&otlp->body, otlp->sending.bytes + 1, otlp->sending.length - 1); /* without the first comma */
	buffer_add_text(&otlp->body, "]}]}]}");
	curl_easy_setopt(otlp->curl, CURLOPT_POSTFIELDS, otlp->body.bytes);
	curl_easy_setopt(otlp->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)otlp->body.length);
}

/* A batch that waits when it is to be over is tried once more at once. */
static void send_batch(struct otlp *otlp)
{
	int64_t until_ms = clock_monotonic_ms() + RETRY_FOR_MS, wait_ms = RETRY_FIRST_MS, after_ms;
	bool last = left_ms(otlp) != INT64_MAX;
	enum outcome outcome;
	make_body(otlp);
	while ((outcome = post(otlp, &after_ms)) == OUTCOME_RETRY && !last) {
		note_trouble(otlp, outcome);
		tell_lost(otlp, false);
		int64_t pause_ms = after_ms ? after_ms : wait_ms + clock_monotonic_us() % (wait_ms / 2);
		if (clock_monotonic_ms() + pause_ms > until_ms)
			break;
		last = !pause_for(otlp, pause_ms);
		wait_ms = 2 * wait_ms < RETRY_LAST_MS ? 2 * wait_ms : RETRY_LAST_MS;
	}
	note_trouble(otlp, outcome);
	if (outcome != OUTCOME_TAKEN)
		lose(otlp, otlp->sending_count);
	tell_lost(otlp, false);
}

static void *export_spans(void *argument)
{
	struct otlp *otlp = argument;
	while (take(otlp))
		send_batch(otlp);
	tell_lost(otlp, true);
	return NULL;
}

/* ---- life ---- */

static void set_options(struct otlp *otlp)
{
	CURL *curl = otlp->curl;
	curl_easy_setopt(curl, CURLOPT_URL, otlp->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, otlp->headers);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "kser/" KSER_VERSION);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* a name that is still being looked up is not waited for */
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, otlp->curl_error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, otlp);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, is_over);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, otlp);
}

static void otlp_free(struct otlp *otlp)
{
	curl_easy_cleanup(otlp->curl);
	curl_slist_free_all(otlp->headers);
	buffer_clear(&otlp->pending);
	buffer_clear(&otlp->sending);
	buffer_clear(&otlp->shown);
	buffer_clear(&otlp->head);
	buffer_clear(&otlp->body);
	buffer_clear(&otlp->answer);
	pthread_cond_destroy(&otlp->wake);
	pthread_mutex_destroy(&otlp->lock);
	free(otlp->url);
	free(otlp);
}

static struct otlp *otlp_new(void)
{
	struct otlp *otlp = xcalloc(1, sizeof *otlp);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&otlp->lock, NULL);
	pthread_cond_init(&otlp->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	otlp->curl = curl_easy_init();
	return otlp;
}

enum status otlp_open(const struct otlp_settings *settings, const char *instance, struct otlp **otlp, struct error *err)
{
	*otlp = NULL;
	enum status status = otlp_check(settings, err);
	if (status || !otlp_is_wanted(settings))
		return status;
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return fail(err, E_FATAL, "curl cannot be initialized");
	struct otlp *made = otlp_new();
	struct buffer url = {0};
	(void)make_url(settings, &url);
	made->url = url.bytes;
	(void)url_add_shown(&made->shown, made->url);
	made->headers = curl_slist_append(NULL, "Content-Type: application/json");
	made->headers = curl_slist_append(made->headers, "Expect:"); /* not asked for leave with each large batch */
	status = made->curl ? read_headers(settings->headers, &made->headers, err) : fail(err, E_FATAL, "curl cannot be initialized");
	if (!status) {
		set_options(made);
		make_head(made, settings->service, instance);
		if (thread_start(&made->thread, "kser-otlp", export_spans, made))
			status = fail(err, E_FATAL, "cannot start the thread that exports spans");
	}
	if (status) {
		otlp_free(made);
		return status;
	}
	log_info("exports spans", "url", made->shown.bytes);
	*otlp = made;
	return E_OK;
}

void otlp_close(struct otlp *otlp, int timeout_ms)
{
	if (!otlp)
		return;
	pthread_mutex_lock(&otlp->lock);
	otlp->closing = true;
	otlp->close_ms = clock_monotonic_ms() + timeout_ms;
	pthread_cond_signal(&otlp->wake);
	pthread_mutex_unlock(&otlp->lock);
	pthread_join(otlp->thread, NULL);
	otlp_free(otlp);
}
