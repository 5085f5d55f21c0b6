/* The database is set back: what Kafka holds of the lost future must change nothing.
 *
 * One operation of two tasks, dispatches and results that may wait in Kafka for as long as they like. At any moment the
 * database may be copied and later be put back, up to LIVES - 1 times. Each life draws a generation of its own.
 *
 * Claims: only a result of this life's dispatch ends a task; when nothing can happen any more the operation has ended.
 *
 * SILENT: it is put back and nobody notices, so the generation stays. Then only epochs can tell: a reply of an epoch
 * that is not yet. P_SILENTLY_ACCEPTED shows that this does not tell always, nor does it when an orchestrator also
 * remembers the newest epoch that it saw (REMEMBERS).
 */
#ifndef LIVES
#define LIVES 3
#endif
#ifndef RETRIES
#define RETRIES 1
#endif
#ifndef EPOCHS
#define EPOCHS 2
#endif
#define ATTEMPTS (RETRIES + 3)

#define PENDING 0
#define RUNNING 1
#define SUCCESS 2

typedef Database {
	byte generation;
	byte status[2];
	byte attempt[2];
	bool ready[2];
	byte failures;
#ifdef SILENT
	byte epoch
#endif
};
Database now;
Database copy;
bool copied = 0;
byte life = 1;                  /* ghost: how many there were */
byte drawn = 1;                 /* generations drawn: random ones are never drawn twice */

/* Kafka: dispatches and then results, each a bit by life, task and attempt. */
#define SLOTS ((LIVES + 1) * 2 * (ATTEMPTS + 1))
#define SLOT(l, t, a) (((l) * 2 + (t)) * (ATTEMPTS + 1) + (a))
bool dispatched[SLOTS];
byte generation_of[LIVES + 1];
#ifdef SILENT
byte epoch_of[SLOTS];
bool halted = 0;
byte remembered = 0;            /* the newest epoch that an orchestrator has seen in its own memory */
#else
#define halted 0
#endif

inline start(t) {
	now.status[t] = RUNNING; now.attempt[t]++; now.ready[t] = 0;
	assert(now.attempt[t] <= ATTEMPTS);
	dispatched[SLOT(life, t, now.attempt[t])] = 1;
#ifdef SILENT
	epoch_of[SLOT(life, t, now.attempt[t])] = now.epoch
#endif
}

#ifdef M_NO_GENERATION
#define KNOWN(l) 1
#else
#define KNOWN(l) (generation_of[l] == now.generation)
#endif

proctype Results() {
	byte l = 0, t = 0, a = 0;
	do
	:: atomic { !halted ->
		l = 1;
		do
		:: l < life -> l++
		:: break
		od;
		if
		:: t = 0
		:: t = 1
		fi;
		a = 1;
		do
		:: a < ATTEMPTS -> a++
		:: break
		od;
		/* A result is taken once; what is lost of it, a redelivery, is the same as one that comes later. */
		if
		:: dispatched[SLOT(l, t, a)] -> dispatched[SLOT(l, t, a)] = 0;
			if
#ifdef SILENT
#ifndef M_NO_EPOCH_CHECK
			:: epoch_of[SLOT(l, t, a)] > now.epoch -> halted = 1
#endif
			:: (epoch_of[SLOT(l, t, a)] <= now.epoch) && KNOWN(l) && now.status[t] == RUNNING && now.attempt[t] == a ->
#else
			:: KNOWN(l) && now.status[t] == RUNNING && now.attempt[t] == a ->
#endif
#ifdef P_SILENTLY_ACCEPTED
				assert(l == life);
#endif
#ifndef SILENT
				assert(l == life);
#endif
				now.status[t] = SUCCESS;
				if
				:: t == 0 && now.status[1] == PENDING -> start(1)
				:: else
				fi
			:: else
			fi
		:: else
		fi; l = 0; t = 0; a = 0 }
	od
}

proctype Rest() {
	do
	:: atomic { !halted && now.ready[0] -> start(0) }
	:: atomic { !halted && now.ready[1] -> start(1) }
	/* A dead worker, a lost message. */
	:: atomic { !halted && now.failures < RETRIES && now.status[0] == RUNNING -> now.failures++; now.status[0] = PENDING; now.ready[0] = 1 }
	:: atomic { !halted && now.failures < RETRIES && now.status[1] == RUNNING -> now.failures++; now.status[1] = PENDING; now.ready[1] = 1 }
	:: d_step { !copied -> copied = 1;
		copy.generation = now.generation; copy.failures = now.failures;
		copy.status[0] = now.status[0]; copy.status[1] = now.status[1];
		copy.attempt[0] = now.attempt[0]; copy.attempt[1] = now.attempt[1];
		copy.ready[0] = now.ready[0]; copy.ready[1] = now.ready[1];
#ifdef SILENT
		copy.epoch = now.epoch
#endif
		}
	:: atomic { copied && life < LIVES -> life++;
		now.generation = copy.generation; now.failures = copy.failures;
		now.status[0] = copy.status[0]; now.status[1] = copy.status[1];
		now.attempt[0] = copy.attempt[0]; now.attempt[1] = copy.attempt[1];
		now.ready[0] = copy.ready[0]; now.ready[1] = copy.ready[1];
#ifdef SILENT
		now.epoch = copy.epoch;
#ifdef REMEMBERS
		halted = (remembered > now.epoch)
#endif
#else
#ifdef M_GENERATION_COUNTS
		now.generation = copy.generation + 1;
#else
		drawn++; now.generation = drawn;
#endif
#ifndef M_RUNNING_STAYS
		/* What runs is derived again. */
		if
		:: now.status[0] == RUNNING -> now.status[0] = PENDING; now.ready[0] = 1
		:: now.status[1] == RUNNING -> now.status[1] = PENDING; now.ready[1] = 1
		:: else
		fi;
#endif
#ifdef P_RESTORED_TWICE
		assert(!(life == 3 && now.status[0] == SUCCESS));
#endif
#endif
		generation_of[life] = now.generation }
#ifdef SILENT
	:: atomic { !halted && now.epoch < EPOCHS -> now.epoch++ }
#ifdef REMEMBERS
	:: atomic { !halted && remembered < now.epoch -> remembered = now.epoch }
#endif
#endif
	od
}

/* Nothing is under way in this life and nobody is to start anything: the operation has ended, or an operator is asked. */
#define OVER (now.status[0] == SUCCESS && now.status[1] == SUCCESS)
#define UNDER_WAY(t) (now.status[t] == RUNNING && KNOWN(life) && dispatched[SLOT(life, t, now.attempt[t])])
proctype Quiet() {
#ifndef SILENT
	do
	:: atomic { !OVER && !now.ready[0] && !now.ready[1] && !UNDER_WAY(0) && !UNDER_WAY(1) && life == LIVES -> assert(0) }
	od
#else
	skip
#endif
}

init {
	atomic {
		now.generation = 1; generation_of[1] = 1; now.ready[0] = 1;
#ifdef SILENT
		now.epoch = 1;
#endif
		run Results(); run Rest(); run Quiet()
	}
}
