/* Claims: a task that a worker holds, its heartbeats, the lease and its gate.
 *
 * One task, two workers. A worker dies, freezes and thaws, loses its partition while it runs (the record is read again
 * by the other one); a claim record is lost; the database's clock jumps. Replies wait for as long as they like before
 * they are applied: a stopped orchestrator, a slow database. Time passes in ticks, one heartbeat each: the ages that
 * count are kept, up to the lease.
 *
 * Claims: a claim is expired only when its worker was silent for a lease; who holds the claim loses the task to nobody
 * else; executions <= 1 + faults; at most one winner; when nothing can happen any more the task has ended.
 */
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef LEASE
#define LEASE 2
#endif
#ifndef QUEUE
#define QUEUE 3
#endif
#define ATTEMPTS (FAULTS + 2)   /* one more by a task handed back */
#define FAULT (faults < FAULTS && !calm)

#define READY 0
#define RUNNING 1
#define DONE 2

#define CLAIM 1                 /* or a heartbeat: the same */
#define RESULT 2
#define RELEASE 3

#define FINE 0
#define FROZEN 1
#define DEAD 2

/* The database. */
byte status = READY;
byte attempt = 0;
byte claim = 0;                 /* the worker whose claim it is, + 1 */
byte age = 0;                   /* of its last renewal, in ticks, up to LEASE */
bool renewed = 0;               /* since the keeper's round began */
bool jumped = 0;                /* the clock, and the keeper has not compared it yet */

/* Kafka. */
byte copies[ATTEMPTS + 2];      /* dispatches not yet read, by attempt */
chan replies = [QUEUE] of { byte, byte, byte }; /* kind, worker, attempt */
byte live[ATTEMPTS + 2];        /* how many of them, by attempt */
bool stop[2];                   /* told to the worker */

/* Workers. */
byte state[2];
byte runs[2];                   /* the attempt that it has in hand; 0: none */
bool started[2];
bool open[2];                   /* its offset is not passed: the record comes again when the worker goes */
byte silent[2];                 /* ticks since its last acknowledged claim or heartbeat, up to LEASE */

byte faults = 0;
bool calm = 0;
bool handed_back = 0;           /* a drain: once */
byte behind = 0;                /* replies still to be applied of those that the keeper noted */

/* Ghosts. */
byte executions = 0;
bool won = 0;                   /* the current attempt has a winner */

#define HOLDS(w) (runs[w] != 0 && !open[w] && state[w] == FINE)
#define BEAT_DUE(w) (HOLDS(w) && silent[w] > 0)

inline forget(w) {
	runs[w] = 0; started[w] = 0; open[w] = 0; stop[w] = 0; silent[w] = 0
}

/* The record comes again. */
inline back(w) {
	if
	:: open[w] -> copies[runs[w]]++; open[w] = 0
	:: else
	fi
}

inline send(kind, w) {
	replies!kind, w, runs[w]; live[runs[w]]++
}

#define FETCH(w, a) atomic { state[w] == FINE && runs[w] == 0 && copies[a] > 0 -> copies[a]--; runs[w] = a; open[w] = 1; silent[w] = LEASE }

proctype Worker(byte w) {
	do
	:: FETCH(w, 1)
	:: FETCH(w, 2)
	:: FETCH(w, 3)
#if ATTEMPTS > 3
	:: FETCH(w, 4)
#endif
	:: atomic { state[w] == FINE && runs[w] != 0 && !started[w] && !stop[w] -> started[w] = 1; executions++; assert(executions <= 1 + faults) }
	/* A drain, or full slots: handed back, not started. */
	:: atomic { state[w] == FINE && open[w] && !started[w] && !handed_back && nfull(replies) -> handed_back = 1; send(RELEASE, w); forget(w) }
	/* A claim, at once or late; when it is acknowledged the offset passes. */
	:: atomic { state[w] == FINE && open[w] && started[w] && nfull(replies) -> send(CLAIM, w); open[w] = 0; silent[w] = 0 }
	/* A heartbeat. */
	:: atomic { BEAT_DUE(w) && nfull(replies) -> send(CLAIM, w); silent[w] = 0 }
	/* The end; the result is acknowledged and the offset passes. */
	:: atomic { state[w] == FINE && started[w] && nfull(replies) -> send(RESULT, w); forget(w) }
	/* Stopped: says so. */
	:: atomic { state[w] == FINE && runs[w] != 0 && stop[w] && nfull(replies) ->
		send(RELEASE, w); forget(w) }
	/* Dies. The other one is there to go on. */
	:: atomic { FAULT && state[w] != DEAD && state[1 - w] != DEAD && runs[w] != 0 -> faults++; back(w); forget(w); state[w] = DEAD }
	/* Freezes: for a moment, or for so long that its partition goes to the other one; its execution goes on when it thaws. */
	:: atomic { FAULT && state[w] == FINE && runs[w] != 0 && state[1 - w] == FINE -> faults++; state[w] = FROZEN;
		if
		:: back(w)
		:: skip
		fi }
	:: atomic { state[w] == FROZEN -> state[w] = FINE }
	od
}

#ifdef M_ANY_CLAIM
#define OTHERS(w) 0
#else
#define OTHERS(w) (claim != 0 && claim != w + 1)
#endif

proctype Applier() {
	byte kind = 0, w = 0, a = 0;
	do
	:: atomic { replies?kind, w, a -> live[a]--; behind = (behind > 0 -> behind - 1 : 0);
		if
		:: status == RUNNING && a == attempt && kind == CLAIM && !OTHERS(w) ->
			claim = w + 1; age = 0; renewed = 1
		:: status == RUNNING && a == attempt && kind == RESULT ->
			assert(!won); won = 1; status = DONE; claim = 0; age = 0
#ifdef M_RELEASE_OF_ANOTHERS
		:: status == RUNNING && a == attempt && kind == RELEASE ->
#else
		:: status == RUNNING && a == attempt && kind == RELEASE && !OTHERS(w) ->
#endif
			assert(claim == 0 || claim == w + 1);
			status = READY; claim = 0; age = 0
		:: else ->
			/* Not current: told to stop, again with each heartbeat. */
			if
			:: kind == CLAIM && runs[w] == a -> stop[w] = 1
#ifdef P_STOPPED
				; assert(0)
#endif
			:: else
			fi
		fi; kind = 0; w = 0; a = 0 }
	/* A claim record is lost; the heartbeat heals it. (A lost heartbeat of who is late anyway may cost a claim.) */
	:: atomic { FAULT && claim == 0 && len(replies) == 1 && replies?[CLAIM, _, _] -> faults++; replies?kind, w, a; live[a]--; behind = 0; kind = 0; w = 0; a = 0 }
	od
}

/* Admission; the broker; time. */
proctype Rest() {
	do
	:: atomic { status == READY -> attempt++; assert(attempt <= ATTEMPTS); status = RUNNING; won = 0; copies[attempt]++ }
	/* A copy too many. */
	:: atomic { FAULT && copies[attempt] == 1 -> faults++; copies[attempt]++ }
	:: d_step { !BEAT_DUE(0) && !BEAT_DUE(1) &&
			(claim != 0 && age < LEASE || runs[0] != 0 && silent[0] < LEASE || runs[1] != 0 && silent[1] < LEASE) ->
		age = (claim != 0 && age < LEASE -> age + 1 : age);
		silent[0] = (runs[0] != 0 && silent[0] < LEASE -> silent[0] + 1 : silent[0]);
		silent[1] = (runs[1] != 0 && silent[1] < LEASE -> silent[1] + 1 : silent[1]) }
	:: atomic { FAULT && claim != 0 && age < LEASE -> faults++; age = LEASE; jumped = 1 }
	:: atomic { !calm -> calm = 1 }
	:: atomic { timeout -> assert(status == DONE);
#ifdef P_ENDED
		assert(!(faults == FAULTS && attempt == ATTEMPTS));
#endif
		break }
	od
}

#define NOTHING_LEFT (copies[attempt] == 0 && live[attempt] == 0 && runs[0] != attempt && runs[1] != attempt)

#define QUIET(w) (runs[w] != attempt || silent[w] == LEASE)

/* The keeper's rounds: the lease, and the proof of loss, which knows here. */
proctype Keeper() {
	byte holder = 0;
	bool quiet = 0;
	do
	:: atomic { status == RUNNING && claim == 0 && NOTHING_LEFT -> status = READY }
	:: atomic { claim != 0 && age == LEASE ->
#ifdef M_REPLY_ENDS_BEFORE_THE_MOMENT
		behind = len(replies) };
		atomic { true ->
#endif
#ifndef M_NO_CLOCK_GUARD
		/* The clock went another way than the keeper's own: that counts as a renewal of all claims. */
		if
		:: jumped -> age = 0; jumped = 0
		:: else
		fi;
#endif
		if
		:: claim != 0 && age == LEASE -> holder = claim; renewed = 0; quiet = QUIET(claim - 1)
		:: else
		fi };
		if
		:: holder != 0 ->
#if !defined(M_REPLY_ENDS_BEFORE_THE_MOMENT) && !defined(M_NO_GATE)
			/* The ends of the replies, after that moment; then these are applied. */
			behind = len(replies);
#endif
			behind == 0;
			atomic {
				if
#ifdef M_NO_SECOND_LOOK
				:: claim != 0 ->
#elif defined(M_AGE_OF_NOW)
				:: claim == holder && age == LEASE ->
#else
				:: claim == holder && !renewed ->
#endif
					assert(quiet || QUIET(claim - 1));
#ifdef P_EXPIRED
					assert(!(state[claim - 1] == FROZEN && runs[claim - 1] == attempt));
#endif
					claim = 0; age = 0; status = READY
				:: else
#ifdef P_SAVED_BY_THE_GATE
					; assert(quiet || claim != holder)
#endif
				fi; holder = 0; quiet = 0; renewed = 0 }
		:: else
		fi
	od
}

init { atomic { run Worker(0); run Worker(1); run Applier(); run Rest(); run Keeper() } }
