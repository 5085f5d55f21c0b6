/* Steering: verbs against results, admission and the finders of dead work, inside of their transactions.
 *
 * One operation of two tasks. READ COMMITTED: a statement sees what was committed when it began; an update waits for the
 * row and then looks again at that row only. What a transaction has decided becomes visible when it commits, and then
 * its row locks are free. The current task (the lowest not SUCCESS) is the operation's lock.
 *
 * Claims: while the operation is held no task becomes RUNNING; after a cancel none does, nor does the operation go on;
 * an operation that has ended stays so unless an operator retries it; when nothing can happen any more it has ended or
 * is held.
 */
#ifndef VERBS
#define VERBS 2                 /* calls of an operator, by each of two */
#endif
#ifndef RETRIES
#define RETRIES 1               /* attempts that come to nothing: a failure, a dead worker, a lost message */
#endif

#define PENDING 0
#define RUNNING 1
#define SUCCESS 2
#define FAILED 3

byte status[2];
byte attempt[2];
bool ready[2];                  /* a row that says the task may be started */
byte stop[2];                   /* this attempt is to be stopped; 0: none */
byte lock[2];                   /* the transaction that has the row; 0: none */
bool held = 0;
bool ended = 0;
bool cancelled = 0;             /* ghost: a cancel was answered, no retry since */
byte failures = 0;

byte results = 0;               /* ghosts, to bound what happens */

#define CURRENT (status[0] != SUCCESS -> 0 : 1)

#define RESULTS 1
#define ADMISSION 2
#define FINDER 3
#define OPERATOR 4              /* and 5 */

/* A task becomes RUNNING: at the commit. */
inline started(t) {
	assert(!held); assert(!cancelled); assert(!ended);
	status[t] = RUNNING; attempt[t]++
}

inline end() {
	ended = 1; stop[0] = 0; stop[1] = 0
}

/* A result of the attempt that runs. It waits for the row of its task and for that of the successor. */
proctype Results() {
	byte t = 0, a = 0;
	bool h = 0, good = 0;
	do
	:: atomic { status[0] == RUNNING || status[1] == RUNNING -> t = CURRENT; a = attempt[t];
		if
		:: good = 1
		:: failures < RETRIES -> good = 0
		fi };
#ifdef M_HELD_READ_BEFORE_THE_LOCK
		h = held;
#endif
		atomic { lock[t] == 0 -> lock[t] = RESULTS };
		if
		:: status[t] != RUNNING || attempt[t] != a -> lock[t] = 0     /* late */
		:: else ->
#ifndef M_HELD_READ_BEFORE_THE_LOCK
			h = held;                                               /* a fresh statement */
#endif
			if
			:: good && t == 0 && !h -> atomic { lock[1] == 0 -> lock[1] = RESULTS }
			:: else
			fi;
			atomic {
				if
				:: good && t == 0 && status[1] == PENDING ->
					status[0] = SUCCESS;
					if
#ifdef M_STOP_IGNORED
					:: false
#else
					:: stop[0] == a -> status[1] = FAILED; end()
#ifdef P_CANCELLED_BEHIND_A_RESULT
						; assert(0)
#endif
#endif
					:: (stop[0] != a) && !h -> started(1)
					:: (stop[0] != a) && h
#ifdef M_STOP_IGNORED
					:: stop[0] == a && !h -> started(1)
					:: stop[0] == a && h
#endif
					fi
				:: good && t == 1 -> status[1] = SUCCESS; end()
				:: !good && stop[t] == a -> status[t] = FAILED; end()
				:: !good && stop[t] != a -> failures++; status[t] = PENDING; ready[t] = 1
				fi;
				lock[t] = 0;
				lock[1] = (lock[1] == RESULTS -> 0 : lock[1]) }
		fi;
		atomic { t = 0; a = 0; h = 0; good = 0 }
	od
}

/* Admission: a row of `ready`, then its task's row if nobody has it, then a fresh look. */
proctype Admission() {
	byte t = 0;
	bool h = 0;
	do
	:: atomic {
		if
		:: ready[0] -> t = 0
		:: ready[1] -> t = 1
		fi };
#ifdef M_HELD_READ_BEFORE_THE_TASK
		h = held;
#endif
		if
		:: atomic { lock[t] == 0 -> lock[t] = ADMISSION };
#ifndef M_HELD_READ_BEFORE_THE_TASK
			h = held;
#endif
			atomic {
				if
#ifdef M_READY_TRUSTED
				:: status[t] == PENDING -> started(t)
#else
				:: status[t] == PENDING && !h && !ended -> started(t)
#endif
				:: else
				fi; ready[t] = 0; lock[t] = 0 }
		:: atomic { lock[t] != 0 ->
#ifdef M_SKIPPED_ROW_DELETED
			ready[t] = 0
#else
			skip
#endif
			}
		fi;
		h = 0; t = 0
	od
}

/* A dead worker, a lost message, a task handed back: PENDING again. Who is to be stopped ends; also after five seconds. */
proctype Finder() {
	byte t = 0;
	do
	:: atomic { failures < RETRIES && (status[0] == RUNNING || status[1] == RUNNING) -> t = CURRENT };
		atomic { lock[t] == 0 -> lock[t] = FINDER };
		atomic {
			if
#ifdef M_FINDER_FORGETS_STOPS
			:: status[t] == RUNNING -> failures++; status[t] = PENDING; ready[t] = 1
#else
			:: status[t] == RUNNING && stop[t] == attempt[t] -> status[t] = FAILED; end()
			:: status[t] == RUNNING && stop[t] != attempt[t] -> failures++; status[t] = PENDING; ready[t] = 1
#endif
			:: else
			fi; lock[t] = 0; t = 0 }
	:: atomic { stop[0] != 0 || stop[1] != 0 -> t = (stop[0] != 0 -> 0 : 1) };
		atomic { lock[t] == 0 -> lock[t] = FINDER };
		atomic {
			if
			:: stop[t] != 0 && status[t] == RUNNING && stop[t] == attempt[t] -> status[t] = FAILED; end()
			:: else -> stop[t] = 0
			fi; lock[t] = 0; t = 0 }
	od
}

#define PAUSE 1
#define RESUME 2
#define CANCEL 3
#define RETRY 4

/* Locks the current task's row, looks again, upwards only. */
proctype Operator(byte me) {
	byte verb = 0, t = 0, calls = 0;
	do
	:: atomic { calls < VERBS -> calls++;
		if
		:: !ended -> verb = PAUSE
		:: held -> verb = RESUME
		:: !ended -> verb = CANCEL
		:: ended && status[CURRENT] == FAILED && me == OPERATOR -> verb = RETRY
		fi; t = CURRENT };
		atomic { lock[t] == 0 -> lock[t] = me };
#ifndef M_NO_SECOND_LOOK
		if
		:: atomic { t == 0 && CURRENT == 1 -> t = 1 };
			atomic { lock[1] == 0 -> lock[1] = me }
		:: atomic { else -> skip }
		fi;
#endif
		atomic {
			if
			:: verb == PAUSE && !ended && !held -> held = 1
			:: verb == RESUME && held -> held = 0;
#ifndef M_RESUME_MAKES_NO_ROW
				if
				:: !ended && status[t] == PENDING && !ready[t] -> ready[t] = 1
				:: else
				fi
#endif
			:: verb == CANCEL && !ended && status[t] == PENDING -> cancelled = 1; status[t] = FAILED; end()
			:: verb == CANCEL && !ended && status[t] == RUNNING -> cancelled = 1; stop[t] = attempt[t]
#ifdef P_ASKED_WHILE_HELD
				; assert(!held)
#endif
			:: verb == RETRY && ended && status[t] == FAILED -> cancelled = 0; ended = 0; status[t] = PENDING; ready[t] = !held
#ifdef P_RETRIED
				; assert(t == 0)
#endif
			:: else         /* refused by the state */
#ifdef P_REFUSED
				; assert(0)
#endif
			fi;
			lock[0] = (lock[0] == me -> 0 : lock[0]);
			lock[1] = (lock[1] == me -> 0 : lock[1]);
			verb = 0; t = 0 }
	:: atomic { calls < VERBS -> calls = VERBS }
	od
}

proctype Quiet() {
	atomic { timeout -> assert(ended || held); assert(lock[0] == 0 && lock[1] == 0);
		assert(!cancelled || ended) }
}

init {
	atomic {
		ready[0] = 1;
		run Results(); run Admission(); run Finder(); run Operator(OPERATOR); run Operator(OPERATOR + 1); run Quiet()
	}
}
