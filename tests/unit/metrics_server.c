/* What comes in from the network: real connections on 127.0.0.1, each with its bytes, good and bad. */

#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/metrics_server.h"

static const struct metric_family families[] = {{.name = "some_total", .kind = METRIC_COUNTER, .help = "h"}};

static struct metrics *metrics;
static struct metrics_server *server;
static bool healthy = true;

static bool is_healthy(void *context)
{
	(void)context;
	return healthy;
}

static int visit(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)metrics_server_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
	return fd;
}

/* All that comes until the server closes; a connection that it cut is an end too. */
static void read_all(int fd, struct buffer *out)
{
	char bytes[4096];
	for (ssize_t got; (got = recv(fd, bytes, sizeof bytes, 0)) > 0;)
		buffer_add(out, bytes, (size_t)got);
	buffer_add_text(out, "");
	close(fd);
}

static void ask(const char *request, struct buffer *out)
{
	int fd = visit();
	buffer_reset(out);
	(void)!send(fd, request, strlen(request), MSG_NOSIGNAL);
	read_all(fd, out);
}

static void expect(const char *request, const char *status, const char *part)
{
	struct buffer out CLEANUP(buffer_clear) = {0};
	ask(request, &out);
	const char *text = buffer_slice(&out).start;
	if (strncmp(text, status, strlen(status)) != 0 || !strstr(text, part) || (text[0] && strstr(text + 1, "HTTP/1."))) {
		fprintf(stderr, "asked: %.200s\nexpected: %s … %s\ngot: %s\n", request, status, part, text);
		abort();
	}
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void answers(void)
{
	metric_add(metrics_series(metrics, 0, (const char *const[]){NULL}), 1);
	expect(GET("/metrics"), "HTTP/1.1 200 ", "\r\n\r\n# HELP some_total h\n# TYPE some_total counter\nsome_total 1\n");
	expect(GET("/metrics"), "HTTP/1.1 200 ", "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	expect(GET("/metrics?name[]=some_total"), "HTTP/1.1 200 ", "some_total 1\n");
	expect(GET("/"), "HTTP/1.1 404 ", "");
	expect(GET("/metrics/"), "HTTP/1.1 404 ", "");
	expect(GET("/healthz"), "HTTP/1.1 200 ", "\r\n\r\nok\n");
	healthy = false;
	expect(GET("/healthz"), "HTTP/1.1 503 ", "\r\n\r\nnot well\n");
	healthy = true;
}

static void a_head_has_no_body(void)
{
	struct buffer out CLEANUP(buffer_clear) = {0};
	ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &out);
	assert(strncmp(out.bytes, "HTTP/1.1 200 ", 13) == 0 && !strstr(out.bytes, "some_total"));
}

/* Refused or cut, and never more than one answer: what hides behind a first request is not read. */
static void nonsense(void)
{
	static char large[64 * 1024];
	expect("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405 ", "Allow: GET, HEAD\r\n");
	expect("DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 ", "");
	expect(GET("/metrics") GET("/metrics"), "HTTP/1.1 200 ", "");
	expect("GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/healthz"), "", "");
	expect("GET /metrics HTTP/9.9\r\n\r\n", "", "");
	expect("\x16\x03\x01\x02\r\n\r\n\r\n", "", "");
	expect("\r\n\r\n\r\n", "", "");
	memset(large, 'a', sizeof large - 1);
	memcpy(large, "GET /", 5);
	expect(large, "", "");
	memcpy(large, "GET /metrics HTTP/1.1\r\nHost: ", 29);
	expect(large, "", "");
	expect(GET("/metrics"), "HTTP/1.1 200 ", "some_total 1\n");
}

/* More of them than there may be, which send now and then a byte, so that none is ever inactive: the next one is served none the less. */
static void slow_clients(void)
{
	enum { SLOW = 50 };
	int fds[SLOW];
	for (int i = 0; i < SLOW; i++) {
		fds[i] = visit();
		(void)!send(fds[i], "GET /metrics", 12, MSG_NOSIGNAL);
	}
	int good = visit();
	(void)!send(good, GET("/metrics"), strlen(GET("/metrics")), MSG_NOSIGNAL);
	struct pollfd answer = {.fd = good, .events = POLLIN};
	while (poll(&answer, 1, 20) == 0)
		for (int i = 0; i < SLOW; i++)
			(void)!send(fds[i], "x", 1, MSG_NOSIGNAL);
	struct buffer out CLEANUP(buffer_clear) = {0};
	read_all(good, &out);
	assert(strstr(out.bytes, "some_total 1\n"));
	for (int i = 0; i < SLOW; i++)
		close(fds[i]);
}

static void where_it_cannot_listen(void)
{
	struct metrics_server *second = NULL;
	struct error err;
	struct metrics_server_setup setup = {.address = "127.0.0.1", .port = metrics_server_port(server), .metrics = metrics, .healthy = is_healthy};
	assert(metrics_server_start(&setup, &second, &err) == E_FATAL && !second && strstr(err.text, "Address already in use"));
	setup.address = "no such host.";
	assert(metrics_server_start(&setup, &second, &err) == E_INVALID && !second && strstr(err.text, "metrics-address: no such host."));
}

int main(void)
{
	struct error err;
	log_open("test", LOG_LEVEL_WARNING, LOG_FORMAT_LOGFMT);
	metrics = metrics_new(families, COUNT_OF(families));
	const struct metrics_server_setup setup = {.address = "127.0.0.1", .port = 0, .metrics = metrics, .healthy = is_healthy, .visit_ms = 500};
	enum status status = metrics_server_start(&setup, &server, &err);
	assert(status == E_OK && metrics_server_port(server) > 0);
	answers();
	a_head_has_no_body();
	nonsense();
	slow_clients();
	where_it_cannot_listen();
	metrics_server_stop(server);
	metrics_free(metrics);
	return 0;
}
