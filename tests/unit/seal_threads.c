/*
 * Threads seal and open while another one changes the keys. Each file has the key that sealed last, so that what is
 * sealed always opens. Under the thread sanitizer: keys are freed by whoever uses them last.
 */

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/seal.h"

#define THREADS 3
#define RELOADS 500

static const char *const generations[] = {
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=\n",
	"ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
};

static atomic_bool ended;

static void write_generation(const char *path, int number)
{
	char fresh[80];
	snprintf(fresh, sizeof fresh, "%s.new", path);
	FILE *file = fopen(fresh, "w");
	assert(file && fputs(generations[number % 2], file) >= 0);
	int closed = fclose(file), renamed = rename(fresh, path);
	assert(!closed && !renamed);
}

static void *work(void *keyring)
{
	while (!atomic_load(&ended)) {
		struct buffer envelope = {0}, text = {0};
		struct error err = {0};
		enum status status = seal_add(keyring, slice_of("a message"), &envelope, &err);
		assert(!status);
		status = seal_open(keyring, buffer_slice(&envelope), &text, &err);
		assert(!status && slice_is(buffer_slice(&text), "a message"));
		buffer_clear(&envelope);
		buffer_clear(&text);
	}
	return NULL;
}

int main(void)
{
	char path[] = "/tmp/kser-seal-XXXXXX";
	int made = mkstemp(path);
	assert(made >= 0);
	close(made);
	struct keyring *keyring;
	struct error err = {0};
	write_generation(path, 0);
	enum status status = keyring_open(NULL, path, &keyring, &err);
	assert(!status);
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, keyring);
	for (int i = 0; i < RELOADS; i++) {
		write_generation(path, i);
		status = keyring_reload(keyring, &err);
		assert(!status);
	}
	atomic_store(&ended, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	keyring_free(keyring);
	unlink(path);
	return 0;
}
