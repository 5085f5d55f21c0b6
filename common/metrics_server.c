#include "common/metrics_server.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/thread.h"

#define CONNECTIONS_MAX 32
#define CONNECTION_BYTES_MAX (16 * 1024) /* for the request's head */
#define VISIT_MS 5000

/* One that is open. The library's own limit counts from the last byte, which a slow client always renews. */
struct visit {
	int fd;
	int64_t until_ms;
	struct visit *prev, *next;
};

struct metrics_server {
	struct metrics_server_setup setup;
	int listen_fd;
	int stop_fd;
	struct MHD_Daemon *daemon;
	struct visit *visits;
	bool left; /* one has ended */
	pthread_t thread;
	int port;
};

/* --- Answers */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type, struct buffer *text)
{
	size_t length = text->length;
	struct MHD_Response *response = length > 0 ? MHD_create_response_from_buffer(length, TAKE(text->bytes), MHD_RESPMEM_MUST_FREE)
		: MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	enum MHD_Result done = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (done == MHD_YES)
		done = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (done == MHD_YES && code == MHD_HTTP_METHOD_NOT_ALLOWED)
		done = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	if (done == MHD_YES)
		done = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return done;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned code, const char *line)
{
	struct buffer text CLEANUP(buffer_clear) = {0};
	buffer_printf(&text, "%s\n", line);
	return answer(connection, code, "text/plain; charset=utf-8", &text);
}

/* Answered at its head, whatever is to follow: then the library closes the connection. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
	const char *upload, size_t *upload_length, void **state)
{
	const struct metrics_server *server = context;
	struct buffer text CLEANUP(buffer_clear) = {0};
	(void)version, (void)upload, (void)upload_length, (void)state;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
	if (strcmp(url, "/metrics") == 0) {
		metrics_write(server->setup.metrics, &text);
		return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &text);
	}
	if (strcmp(url, "/healthz") != 0)
		return answer_text(connection, MHD_HTTP_NOT_FOUND, "there are /metrics and /healthz");
	bool healthy = server->setup.healthy(server->setup.context);
	return answer_text(connection, healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, healthy ? "ok" : "not well");
}

/* --- Connections: all in the server's thread */

static void on_connection(void *context, struct MHD_Connection *connection, void **state, enum MHD_ConnectionNotificationCode what)
{
	struct metrics_server *server = context;
	struct visit *visit = *state;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		visit = xcalloc(1, sizeof *visit);
		*visit = (struct visit){.fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, .until_ms = clock_monotonic_ms() + server->setup.visit_ms};
		DL_APPEND(server->visits, visit);
		*state = visit;
	} else if (visit) {
		DL_DELETE(server->visits, visit);
		*state = NULL;
		free(visit);
		server->left = true;
	}
}

/* Those whose time is up: the library sees their end and closes them. */
static void end_overdue(struct metrics_server *server, int64_t now_ms)
{
	for (struct visit *visit = server->visits; visit && visit->until_ms <= now_ms; visit = visit->next)
		shutdown(visit->fd, SHUT_RDWR);
}

/* At its limit the library stops listening, and begins again when it runs next after one has ended: at once, then. */
static int wait_ms(struct metrics_server *server)
{
	MHD_UNSIGNED_LONG_LONG library_ms;
	if (server->left) {
		server->left = false;
		return 0;
	}
	int64_t most_ms = server->visits ? server->visits->until_ms - clock_monotonic_ms() : -1;
	if (MHD_get_timeout(server->daemon, &library_ms) == MHD_YES && (most_ms < 0 || library_ms < (uint64_t)most_ms))
		return library_ms < VISIT_MS ? (int)library_ms : VISIT_MS;
	return server->visits && most_ms < 10 ? 10 : (int)most_ms;
}

static void *serve(void *argument)
{
	struct metrics_server *server = argument;
	struct pollfd fds[] = {{.fd = server->stop_fd, .events = POLLIN},
		{.fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN}};
	while (!fds[0].revents) {
		poll(fds, COUNT_OF(fds), wait_ms(server));
		end_overdue(server, clock_monotonic_ms());
		MHD_run(server->daemon);
	}
	return NULL;
}

/* --- Life */

static enum status listen_on(const struct addrinfo *at, int *fd)
{
	const int yes = 1;
	*fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
	if (*fd < 0)
		return E_FATAL;
	setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	return bind(*fd, at->ai_addr, at->ai_addrlen) || listen(*fd, CONNECTIONS_MAX) ? E_FATAL : E_OK;
}

static enum status open_socket(struct metrics_server *server, struct error *err)
{
	const struct metrics_server_setup *setup = &server->setup;
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found;
	char port[24];
	snprintf(port, sizeof port, "%" PRId64, setup->port);
	int unknown = getaddrinfo(setup->address, port, &hints, &found);
	if (unknown)
		return fail(err, E_INVALID, "metrics-address: %.200s: %s", setup->address, gai_strerror(unknown));
	enum status status = listen_on(found, &server->listen_fd);
	if (status)
		status = fail(err, status, "cannot serve metrics on %.200s, port %s: %s", setup->address, port, strerror(errno));
	freeaddrinfo(found);
	return status;
}

static void tell_where(struct metrics_server *server, int fd)
{
	struct sockaddr_storage at;
	socklen_t length = sizeof at;
	char host[100] = "", port[16] = "";
	if (getsockname(fd, (struct sockaddr *)&at, &length) == 0)
		getnameinfo((struct sockaddr *)&at, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	server->port = (int)strtol(port, NULL, 10);
	log_info("serving metrics", "address", host, "port", port);
}

static void close_all(struct metrics_server *server)
{
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	if (server->stop_fd >= 0)
		close(server->stop_fd);
	free(server);
}

/* From here on the socket is the library's, also when it fails. */
static enum status start_daemon(struct metrics_server *server, struct error *err)
{
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(server->setup.visit_ms / 1000 + 1),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES_MAX, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
	server->listen_fd = -1;
	if (!server->daemon || server->stop_fd < 0)
		return fail(err, E_FATAL, "cannot serve metrics: %s", strerror(errno));
	int error = thread_start(&server->thread, "kser-metrics", serve, server);
	return error ? fail(err, E_FATAL, "cannot serve metrics: %s", strerror(error)) : E_OK;
}

enum status metrics_server_start(const struct metrics_server_setup *setup, struct metrics_server **server, struct error *err)
{
	struct metrics_server *made = xcalloc(1, sizeof *made);
	*made = (struct metrics_server){.setup = *setup, .listen_fd = -1, .stop_fd = eventfd(0, EFD_CLOEXEC)};
	if (made->setup.visit_ms == 0)
		made->setup.visit_ms = VISIT_MS;
	enum status status = open_socket(made, err);
	int fd = made->listen_fd;
	if (!status)
		status = start_daemon(made, err);
	if (status) {
		close_all(made);
		return status;
	}
	tell_where(made, fd);
	*server = made;
	return E_OK;
}

int metrics_server_port(const struct metrics_server *server)
{
	return server->port;
}

void metrics_server_stop(struct metrics_server *server)
{
	const uint64_t one = 1;
	if (!server)
		return;
	ssize_t written = write(server->stop_fd, &one, sizeof one);
	assert(written == sizeof one);
	pthread_join(server->thread, NULL);
	close_all(server);
}
