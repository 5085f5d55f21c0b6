/* The step: results end tasks and start their successors.
 *
 * One operation of TASKS tasks. Orchestrators apply results in any order and may crash between the commit and the
 * broker's acknowledgement; workers die with work in hand; the broker loses and repeats records; a partition goes to
 * another orchestrator while the first still works on its replies. A transaction is one step here; what happens inside
 * of one is in steering.pml. That a lost dispatch is found out, and only then, is what detector.pml shows: here the
 * keeper simply knows.
 *
 * Claims: one winner for each (task, attempt); attempts grow by one; no execution starts before its predecessor's
 * success is committed; executions <= tasks + retries of failures + faults; when nothing can happen any more the
 * operation has ended.
 */
#ifndef TASKS
#define TASKS 2
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef ORCHESTRATORS
#define ORCHESTRATORS 2
#endif
#define ATTEMPTS (FAULTS + 2)
#define RECORDS 7               /* enough for three tasks and two faults */

#define WAITING 0
#define READY 1                 /* PENDING, with a row that says it may start */
#define RUNNING 2
#define SUCCESS 3
#define FAILED 4

/* The database. */
byte status[TASKS];
byte attempt[TASKS];
byte answer[TASKS];             /* the record that ended it, + 1 */
bool inherited[TASKS];          /* the current dispatch was made by the predecessor's result */
bool failed_once = 0;           /* the policy allows one retry */

/* Kafka: copies of a dispatch not yet read, records of results. */
byte copies[TASKS * (ATTEMPTS + 1)];
byte record_task[RECORDS];
byte record_attempt[RECORDS];
bool record_success[RECORDS];
bool finished[RECORDS];         /* its offset is passed */
byte owner[RECORDS];            /* the orchestrator that has taken it, + 1 */
byte records = 0;

/* Orchestrators: a dispatch in hand, and the record that it belongs to. */
bool in_hand[ORCHESTRATORS];
byte hand_task[ORCHESTRATORS];
byte hand_attempt[ORCHESTRATORS];
byte hand_record[ORCHESTRATORS]; /* + 1; 0: admitted */

/* A worker. */
bool busy = 0;
byte run_task = 0;
byte run_attempt = 0;

byte faults = 0;
bool calm = 0;

/* Ghosts. */
byte executions = 0;
byte retries = 0;
byte winners[TASKS * (ATTEMPTS + 1)];

#define COPY(t, a) ((t) * (ATTEMPTS + 1) + (a))
#define FAULT (faults < FAULTS && !calm)
#define LAST (TASKS - 1)
#define ENDED (status[LAST] == SUCCESS || status[0] == FAILED || status[LAST] == FAILED || status[TASKS / 2] == FAILED)

inline take(i, t, r) {
	in_hand[i] = 1; hand_task[i] = t; hand_attempt[i] = attempt[t]; hand_record[i] = r
}

inline drop(i) {
	in_hand[i] = 0; hand_task[i] = 0; hand_attempt[i] = 0; hand_record[i] = 0
}

inline start(i, t, r) {
	status[t] = RUNNING; attempt[t]++; inherited[t] = (r > 0);
	assert(attempt[t] <= ATTEMPTS);
	take(i, t, r)
}

#ifdef M_NO_ATTEMPT_CHECK
#define CURRENT(r) (status[record_task[r]] == RUNNING)
#else
#define CURRENT(r) (status[record_task[r]] == RUNNING && attempt[record_task[r]] == record_attempt[r])
#endif
#ifdef M_NO_ANSWER_CHECK
#define SAME_RECORD(r) 1
#else
#define SAME_RECORD(r) (answer[record_task[r]] == r + 1)
#endif
#define REPEATS(r) (record_success[r] && record_task[r] < LAST && status[record_task[r]] == SUCCESS && \
	attempt[record_task[r]] == record_attempt[r] && SAME_RECORD(r) && \
	status[record_task[r] + 1] == RUNNING && inherited[record_task[r] + 1])

inline apply(i, r) {
	if
	:: CURRENT(r) ->
		assert(attempt[record_task[r]] == record_attempt[r]);
		winners[COPY(record_task[r], record_attempt[r])]++;
		assert(winners[COPY(record_task[r], record_attempt[r])] == 1);
		answer[record_task[r]] = r + 1;
		if
		:: record_success[r] -> status[record_task[r]] = SUCCESS;
			if
			:: record_task[r] < LAST -> start(i, record_task[r] + 1, r + 1)
			:: else -> finished[r] = 1
			fi
		:: !record_success[r] && !failed_once -> failed_once = 1; retries++; status[record_task[r]] = READY; finished[r] = 1
		:: !record_success[r] && failed_once -> status[record_task[r]] = FAILED; finished[r] = 1
		fi
	:: !CURRENT(r) && REPEATS(r) ->
#ifdef P_REPEATED
		assert(0);
#endif
		take(i, record_task[r] + 1, r + 1)
	:: else ->
#ifdef P_LATE
		assert(record_attempt[r] == attempt[record_task[r]]);
#endif
#ifdef M_LATE_GOES_ON
		if
		:: record_success[r] && record_task[r] < LAST && status[record_task[r] + 1] == WAITING -> start(i, record_task[r] + 1, r + 1)
		:: else -> finished[r] = 1
		fi
#else
		finished[r] = 1
#endif
	fi
}

/* One look at a record by an orchestrator that has nothing in hand. */
#define APPLY(i, r) atomic { !in_hand[i] && r < records && !finished[r] && (owner[r] == 0 || owner[r] == i + 1) -> owner[r] = i + 1; apply(i, r) }

proctype Orchestrator(byte i) {
	do
	:: APPLY(i, 0)
	:: APPLY(i, 1)
	:: APPLY(i, 2)
	:: APPLY(i, 3)
	:: APPLY(i, 4)
	:: APPLY(i, 5)
	:: APPLY(i, 6)
	:: atomic { !in_hand[i] && status[0] == READY -> start(i, 0, 0) }
	:: atomic { !in_hand[i] && status[1] == READY -> start(i, 1, 0) }
#if TASKS > 2
	:: atomic { !in_hand[i] && status[2] == READY -> start(i, 2, 0) }
#endif
	:: atomic { in_hand[i] -> copies[COPY(hand_task[i], hand_attempt[i])]++;
		/* Acknowledged, or the process dies before it learns so. */
		if
		:: hand_record[i] > 0 -> finished[hand_record[i] - 1] = 1
		:: hand_record[i] == 0
		:: FAULT && hand_record[i] > 0 -> faults++; owner[hand_record[i] - 1] = 0
		fi; drop(i) }
	/* It dies with the dispatch in hand; its replies go to others. */
	:: atomic { FAULT && in_hand[i] -> faults++;
		if
		:: hand_record[i] > 0 -> owner[hand_record[i] - 1] = 0
		:: else
		fi; drop(i) }
	/* Its partition goes to another one while it still works on a reply. */
	:: atomic { FAULT && in_hand[i] && hand_record[i] > 0 && owner[hand_record[i] - 1] == i + 1 -> faults++; owner[hand_record[i] - 1] = 0 }
	od
}

#define EXECUTE(t, a) atomic { !busy && copies[COPY(t, a)] > 0 -> copies[COPY(t, a)]--; busy = 1; run_task = t; run_attempt = a; \
	assert(t == 0 || status[(t == 0 -> 0 : t - 1)] == SUCCESS); executions++; assert(executions <= TASKS + retries + faults) }

proctype Worker() {
	do
	:: EXECUTE(0, 1)
	:: EXECUTE(0, 2)
	:: EXECUTE(1, 1)
	:: EXECUTE(1, 2)
#if ATTEMPTS > 2
	:: EXECUTE(0, 3)
	:: EXECUTE(1, 3)
#endif
#if ATTEMPTS > 3
	:: EXECUTE(0, 4)
	:: EXECUTE(1, 4)
#endif
#if TASKS > 2
	:: EXECUTE(2, 1)
	:: EXECUTE(2, 2)
#if ATTEMPTS > 2
	:: EXECUTE(2, 3)
#endif
#if ATTEMPTS > 3
	:: EXECUTE(2, 4)
#endif
#endif
	:: atomic { busy -> assert(records < RECORDS); record_task[records] = run_task; record_attempt[records] = run_attempt;
		if
		:: record_success[records] = 1
		:: !failed_once -> record_success[records] = 0
		fi; records++; busy = 0; run_task = 0; run_attempt = 0 }
	/* Dies, or loses its partition: the record is read again. */
	:: atomic { busy && FAULT -> faults++; copies[COPY(run_task, run_attempt)]++; busy = 0; run_task = 0; run_attempt = 0 }
	od
}

proctype Broker() {
	byte n = 0;
	do
	:: atomic { FAULT -> n = 0;
		do
		:: n < TASKS * (ATTEMPTS + 1) - 1 -> n++
		:: break
		od;
		if
		:: copies[n] > 0 -> faults++;
			if
			:: copies[n]--
			:: copies[n]++
			fi
		:: else
		fi; n = 0 }
	:: atomic { FAULT && records > 0 && !finished[records - 1] && owner[records - 1] == 0 -> faults++; finished[records - 1] = 1 }
	:: atomic { !calm -> calm = 1 }
	od
}

/* Something of the current dispatch of t is left: a copy, an execution, a result, a record that makes it anew. */
#define IN_HAND(i, t) (in_hand[i] && hand_task[i] == t && hand_attempt[i] == attempt[t])
#define RECORD(r, t) (r < records && !finished[r] && (record_task[r] == t && record_attempt[r] == attempt[t] || \
	record_task[r] + 1 == t && REPEATS(r)))
#define LEFT(t) (copies[COPY(t, attempt[t])] > 0 || busy && run_task == t && run_attempt == attempt[t] || \
	IN_HAND(0, t) || IN_HAND(ORCHESTRATORS - 1, t) || \
	RECORD(0, t) || RECORD(1, t) || RECORD(2, t) || RECORD(3, t) || RECORD(4, t) || RECORD(5, t) || RECORD(6, t))

proctype Keeper() {
	do
	:: atomic { status[0] == RUNNING && !LEFT(0) -> status[0] = READY }
	:: atomic { status[1] == RUNNING && !LEFT(1) ->
#ifdef P_LOST
		assert(0);
#endif
		status[1] = READY }
#if TASKS > 2
	:: atomic { status[2] == RUNNING && !LEFT(2) -> status[2] = READY }
#endif
	:: atomic { timeout -> assert(ENDED);
#ifdef P_ENDED
		assert(!(status[LAST] == SUCCESS && faults == FAULTS));
#endif
		break }
	od
}

init {
	atomic {
		status[0] = READY;
		run Orchestrator(0);
#if ORCHESTRATORS > 1
		run Orchestrator(1);
#endif
		run Worker(); run Broker(); run Keeper()
	}
}
