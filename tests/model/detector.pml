/* The proof of loss: may a verdict "lost" ever be wrong?
 *
 * One task partition, one reply partition. Orchestrators dispatch tasks and apply replies, one member of the worker
 * group at a time answers, a keeper takes samples, looks and pronounces. Kafka may lose what it acknowledged,
 * orchestrators crash or are removed while they sleep, workers crash or lose their partition, an operator moves the
 * group's offset, a stranger joins the group. Claim, asserted at each verdict: no copy of the dispatch and no answer to
 * it is left anywhere.
 *
 * Sizes: TASKS, ORCHESTRATORS, KEEPERS, TASK_LOG and REPLY_LOG (records), EPOCHS (samples), FAULTS (in all).
 * ONE_ROUND: the first round pronounces; enough where no claim record is lost (LOSE_CLAIM=0).
 * CHAIN: task 1 is the successor of task 0 and is dispatched by the result's transaction.
 * EARLY_OFFSET: a reply's offset passes at the commit, not when its dispatch is acknowledged. No verdict becomes wrong,
 * but a crash then costs an attempt.
 * -DM_… leaves one rule out: a verdict that is wrong must be found. -DP_… asserts that an interesting point is never
 * reached: it must be.
 */
#ifndef TASKS
#define TASKS 1
#endif
#ifndef ORCHESTRATORS
#define ORCHESTRATORS 1
#endif
#ifndef KEEPERS
#define KEEPERS 1
#endif
#ifndef TASK_LOG
#define TASK_LOG 2
#endif
#ifndef REPLY_LOG
#define REPLY_LOG 2
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
/* Faults that a configuration leaves out are 0. */
#ifndef CRASH
#define CRASH 1
#endif
#ifndef REMOVE
#define REMOVE 1
#endif
#ifndef LOSE_TASK
#define LOSE_TASK 1
#endif
#ifndef LOSE_REPLY
#define LOSE_REPLY 1
#endif
#ifndef LOSE_CLAIM
#define LOSE_CLAIM 1            /* so many claims and heartbeats: the heartbeat that heals a lost one is not lost too */
#endif
#ifndef WORKER_CRASH
#define WORKER_CRASH 1
#endif
#ifndef RESET
#define RESET 0
#endif
#ifndef STRANGER
#define STRANGER 0
#endif
#define SAMPLES 2               /* kept; older ones are forgotten */
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif

#define READY 0
#define RUNNING 1
#define DONE 2
#define WAITING 3               /* for its predecessor */

#define CLAIM 1
#define RESULT 2

/* The database. */
byte epoch = 1;
byte status[TASKS];
byte attempt[TASKS];
byte stamp[TASKS];              /* epoch of the current dispatch */
bool claimed[TASKS];
byte suspect[TASKS];            /* this attempt was found lost by one round; 0: none */
#ifdef CHAIN
byte answer[TASKS];             /* the reply that ended it, offset + 1 */
bool inherited[TASKS];          /* the current dispatch is the one that its predecessor's result made */
#endif

/* The task partition. Records before `committed` are no longer read. */
byte task_of[TASK_LOG];
byte task_attempt[TASK_LOG];
bool task_void[TASK_LOG];       /* acknowledged and lost */
byte task_end = 0;
byte committed = 0;             /* by the worker group */
#if STRANGER || RESET
bool marked = 1;                /* the commit carries the workers' mark */
byte stranger = 255;            /* record that a member of another kind has in hand */
byte looking = 0;               /* keepers between their look and their verdict */
#endif

/* The reply partition. */
byte reply_task[REPLY_LOG];
byte reply_attempt[REPLY_LOG];
byte reply_kind[REPLY_LOG];
bool reply_void[REPLY_LOG];
byte reply_end = 0;
byte applied = 0;               /* committed by the orchestrators */

/* Orchestrators. A call is one transaction; what it decides is in hand until the broker acknowledges it. */
#define IDLE 0
#define CALLED 1                /* under way, its epoch not yet read */
#define READ 2                  /* its epoch read, not yet committed */
#define IN_HAND 3               /* committed, not yet in the log */
#define SENT 4                  /* in the log, not yet acknowledged */
bool alive[ORCHESTRATORS];
bool registered[ORCHESTRATORS];
byte floor[ORCHESTRATORS];      /* as the database has it */
byte seen[ORCHESTRATORS];       /* the newest epoch that it knows */
byte stage[ORCHESTRATORS];
byte bound[ORCHESTRATORS];      /* the epoch that it knew when its call began */
byte call_epoch[ORCHESTRATORS]; /* the epoch that its call read, then its dispatch's stamp */
byte hand_task[ORCHESTRATORS];
byte hand_attempt[ORCHESTRATORS];
#ifdef CHAIN
bool applying[ORCHESTRATORS];   /* the dispatch comes from the reply at `applied`, which waits for it */
byte lane = 0;                  /* who has the reply partition */
#endif

/* The worker group's member. */
byte position = 0;              /* next to read */
byte hand = 255;                /* record in hand; 255: none */
bool answered = 0;              /* its result or claim is acknowledged */
byte holds[TASKS];              /* this attempt runs under a claim; 0: none */
bool beaten[TASKS];             /* a heartbeat named the claim since its task became suspect */

/* Samples, for all keepers. */
byte sample_end[SAMPLES];
byte sample_valid[SAMPLES];     /* 0: none yet */
bool sample_next = 0;

byte faults = 0;
#if LOSE_CLAIM > 0
byte claims_lost = 0;
#else
#define claims_lost 0
#endif

#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define MAY_FAIL(kind) (kind && faults < FAULTS)

#define WINS(r) (!reply_void[r] && reply_kind[r] == RESULT && status[reply_task[r]] == RUNNING \
	&& attempt[reply_task[r]] == reply_attempt[r])
#ifdef CHAIN
/* The reply's transaction dispatches: it wins and its task has a successor, or it is the very record that ended its
   task and the successor is still in the dispatch of that transaction, unclaimed. */
#define WINS_ON(r) (reply_task[r] == 0 && WINS(r) && status[1] == WAITING)
#define REPEATS(r) (reply_task[r] == 0 && !reply_void[r] && reply_kind[r] == RESULT && status[0] == DONE && answer[0] == r + 1 \
	&& status[1] == RUNNING && inherited[1] && !claimed[1])
#define DISPATCHES(r) (WINS_ON(r) || REPEATS(r))
#endif

#ifdef CHAIN
#define DISPATCHING_REPLY(i) (lane == i && applied < reply_end && DISPATCHES(applied))
#else
#define DISPATCHING_REPLY(i) 0
#endif
#if TASKS > 1
#define ANY_READY (status[0] == READY || status[1] == READY)
#define ANY_HELD (holds[0] != 0 || holds[1] != 0)
#define SUSPECTS ((suspect[0] != 0) | ((suspect[1] != 0) << 1))
#else
#define ANY_READY (status[0] == READY)
#define ANY_HELD (holds[0] != 0)
#define SUSPECTS (suspect[0] != 0)
#endif
#ifdef M_UNREGISTERED
#define MAY_CALL(i) 1
#else
#define MAY_CALL(i) registered[i]
#endif
#if defined(M_SENDS_AFTER_REMOVAL) || defined(M_UNREGISTERED)
#define MAY_SEND(i) 1
#else
#define MAY_SEND(i) registered[i]
#endif

inline forget_call(i) {
	stage[i] = IDLE; bound[i] = 0; call_epoch[i] = 0; hand_task[i] = 0; hand_attempt[i] = 0;
#ifdef CHAIN
	applying[i] = 0
#endif
}

/* The task of a dispatch in hand. */
inline take_in_hand(i, t) {
	stage[i] = IN_HAND; bound[i] = 0; hand_task[i] = t; hand_attempt[i] = attempt[t]
}

inline dispatch(i, t) {
	status[t] = RUNNING; stamp[t] = call_epoch[i]; take_in_hand(i, t)
}

inline apply_plainly() {
	if
	:: WINS(applied) -> status[reply_task[applied]] = DONE; claimed[reply_task[applied]] = 0; suspect[reply_task[applied]] = 0;
#ifdef CHAIN
		answer[reply_task[applied]] = applied + 1
#endif
	:: !reply_void[applied] && reply_kind[applied] == CLAIM && status[reply_task[applied]] == RUNNING &&
		attempt[reply_task[applied]] == reply_attempt[applied] ->
#ifdef P_HEALED
		assert(suspect[reply_task[applied]] == 0);
#endif
		claimed[reply_task[applied]] = 1; suspect[reply_task[applied]] = 0
	:: else
	fi
}

proctype Orchestrator(byte i) {
	do
	:: atomic { alive[i] && !registered[i] && stage[i] == IDLE -> registered[i] = 1; seen[i] = epoch; floor[i] = epoch }

	/* The heartbeat: a floor from what is known, the epoch for it. */
	:: d_step { alive[i] && registered[i] && (seen[i] != epoch || floor[i] != epoch) ->
#ifdef M_CALL_NOT_IN_FLOOR
		floor[i] = (stage[i] >= IN_HAND -> MIN(call_epoch[i], seen[i]) : seen[i]);
#elif defined(M_UNACKNOWLEDGED_NOT_IN_FLOOR)
		floor[i] = (stage[i] == CALLED || stage[i] == READ -> bound[i] : seen[i]);
#else
		floor[i] = (stage[i] == CALLED || stage[i] == READ -> bound[i] : (stage[i] >= IN_HAND -> MIN(call_epoch[i], seen[i]) : seen[i]));
#endif
		seen[i] = epoch }

	/* A call: begins, reads the epoch, commits. */
	:: atomic { alive[i] && MAY_CALL(i) && stage[i] == IDLE && (ANY_READY || DISPATCHING_REPLY(i)) -> stage[i] = CALLED; bound[i] = seen[i] }
	:: d_step { alive[i] && stage[i] == CALLED -> stage[i] = READ; call_epoch[i] = epoch }
	:: atomic { alive[i] && stage[i] == READ && status[0] == READY -> dispatch(i, 0) }
#if TASKS > 1
	:: atomic { alive[i] && stage[i] == READ && status[1] == READY -> dispatch(i, 1)
#ifdef CHAIN
		; inherited[1] = 0
#endif
		}
#endif
#ifdef CHAIN
	:: atomic { alive[i] && stage[i] == READ && DISPATCHING_REPLY(i) ->
		if
		:: WINS_ON(applied) -> status[0] = DONE; claimed[0] = 0; suspect[0] = 0; answer[0] = applied + 1;
			attempt[1] = 1; inherited[1] = 1; dispatch(i, 1)
		:: else ->
#ifndef M_NO_RESTAMP
			stamp[1] = call_epoch[i];
#else
			call_epoch[i] = stamp[1];
#endif
			take_in_hand(i, 1)
		fi;
#ifdef EARLY_OFFSET
		applied++
#else
		applying[i] = 1
#endif
		}
#endif
	:: atomic { alive[i] && stage[i] == READ && !ANY_READY && !DISPATCHING_REPLY(i) -> forget_call(i) }

	/* To the broker. Who was removed sends nothing more: its reply is applied again. */
	:: atomic { alive[i] && stage[i] == IN_HAND && !MAY_SEND(i) -> forget_call(i) }
	:: atomic { alive[i] && stage[i] == IN_HAND && MAY_SEND(i) && task_end < TASK_LOG ->
		task_of[task_end] = hand_task[i]; task_attempt[task_end] = hand_attempt[i]; task_end++; stage[i] = SENT }
	:: atomic { alive[i] && stage[i] == SENT ->
#ifdef CHAIN
		if
		:: applying[i] && lane == i -> applied++
		:: else
		fi;
#endif
		forget_call(i) }

	/* Replies that dispatch nothing. */
#ifdef CHAIN
	:: atomic { alive[i] && lane == i && !applying[i] && applied < reply_end && !DISPATCHES(applied) -> apply_plainly(); applied++ }
	:: atomic { !alive[lane] && alive[i] -> lane = i }
#endif

	/* Crash: what was in hand is gone. */
	:: atomic { MAY_FAIL(CRASH) && alive[i] -> faults++; alive[i] = 0; forget_call(i); seen[i] = 0; break }
	od
}

#ifndef CHAIN
/* Replies dispatch nothing: one applier stands for all lanes. */
proctype Applier() {
	byte r = 0;
	do
#ifdef M_OFFSET_BEFORE_APPLY
	:: atomic { applied < reply_end -> r = applied; applied++ };
		atomic { applied--; apply_plainly(); applied++; r = 0 }
#else
	:: atomic { applied < reply_end -> apply_plainly(); applied++ }
#endif
	od
}
#endif

inline reply(t, a, kind) {
	reply_task[reply_end] = t; reply_attempt[reply_end] = a; reply_kind[reply_end] = kind; reply_end++
}

inline heartbeat(t) {
#ifndef M_HEARTBEAT_IS_NO_CLAIM
	reply(t, holds[t], CLAIM);
#endif
	beaten[t] = 1
}

inline let_go() {
	hand = 255; answered = 0
}

inline commit(offset) {
	committed = offset;
#if STRANGER || RESET
	/* The mark is believed again once what a stranger had in hand can no longer be at work. */
#ifdef M_MARK_BELIEVED_AT_ONCE
	marked = 1
#else
	marked = (stranger == 255)
#endif
#endif
}

proctype Worker() {
	do
	:: atomic { hand == 255 && position < task_end ->
		if
		:: task_void[position] -> position++; commit(position)
		:: else -> hand = position; position++
		fi }
	:: atomic { hand != 255 && !answered && reply_end < REPLY_LOG -> reply(task_of[hand], task_attempt[hand], RESULT); answered = 1 }
	:: atomic { hand != 255 && !answered && reply_end < REPLY_LOG && holds[task_of[hand]] == 0 ->
		reply(task_of[hand], task_attempt[hand], CLAIM); holds[task_of[hand]] = task_attempt[hand]; answered = 1 }
#ifdef M_WORKER_COMMITS_FIRST
	:: atomic { hand != 255 && committed <= hand -> commit(hand + 1) }
#endif
	:: atomic { hand != 255 && answered -> commit(hand + 1); let_go() }

	/* What runs under a claim ends, or is named in a heartbeat; one that comes after a suspicion is all that matters. */
	:: atomic { holds[0] != 0 && reply_end < REPLY_LOG -> reply(0, holds[0], RESULT); holds[0] = 0; beaten[0] = 0 }
	:: atomic { holds[0] != 0 && suspect[0] == holds[0] && !beaten[0] && reply_end < REPLY_LOG -> heartbeat(0) }
#if TASKS > 1
	:: atomic { holds[1] != 0 && reply_end < REPLY_LOG -> reply(1, holds[1], RESULT); holds[1] = 0; beaten[1] = 0 }
	:: atomic { holds[1] != 0 && suspect[1] == holds[1] && !beaten[1] && reply_end < REPLY_LOG -> heartbeat(1) }
#endif

	/* The partition goes to another member: what is claimed runs on. */
	:: atomic { MAY_FAIL(WORKER_CRASH) && (hand != 255 || position != committed) -> faults++; let_go(); position = committed }
	/* The process dies. */
	:: atomic { MAY_FAIL(WORKER_CRASH) && ANY_HELD -> faults++; let_go(); position = committed; holds[0] = 0; beaten[0] = 0;
#if TASKS > 1
		holds[1] = 0; beaten[1] = 0
#endif
		}
#if RESET
	/* An operator moves the offset of the group, which has no member at that moment. Set back between a look and its
	   verdict it would bring a record that was lost for good to life again: that is left out. */
	:: atomic { MAY_FAIL(RESET) && task_end > 0 && looking == 0 -> faults++; let_go();
		if
		:: committed = 0
		:: committed = task_end
		fi; marked = 0; position = committed }
#endif
#if STRANGER
	/* A stranger has the partition for one record: commits, then works. */
	:: atomic { MAY_FAIL(STRANGER) && committed < task_end && !task_void[committed] -> faults++; let_go();
		stranger = committed; committed++; marked = 0; position = committed }
	:: atomic { stranger != 255 && reply_end < REPLY_LOG -> reply(task_of[stranger], task_attempt[stranger], RESULT); stranger = 255 }
#endif
	od
}

/* Acknowledged records vanish. */
proctype Broker() {
	byte r = 0;
	do
	:: atomic { MAY_FAIL(LOSE_TASK) && committed < task_end -> r = committed;
		do
		:: r + 1 < task_end -> r++
		:: break
		od;
		if
		:: !task_void[r] -> task_void[r] = 1; faults++
		:: else
		fi; r = 0 }
	:: atomic { MAY_FAIL(LOSE_REPLY) && applied < reply_end -> r = applied;
		do
		:: r + 1 < reply_end -> r++
		:: break
		od;
		if
		:: !reply_void[r] && reply_kind[r] == RESULT -> reply_void[r] = 1; faults++
		:: !reply_void[r] && reply_kind[r] == CLAIM && claims_lost < LOSE_CLAIM -> reply_void[r] = 1; faults++; 
#if LOSE_CLAIM > 0
			claims_lost++
#endif
		:: else
		fi; r = 0 }
	od
}

/* Ghost: something of the dispatch (t, attempt[t]) is left, so a verdict would be wrong. A claim whose worker lives is
   counted when its heartbeat has had its chance. */
inline look_for_life(t) {
	left = (holds[t] == attempt[t]);
	j = 0;
	do
	:: j < ORCHESTRATORS ->
		left = left || (alive[j] && MAY_SEND(j) && stage[j] == IN_HAND && hand_task[j] == t && hand_attempt[j] == attempt[t]);
		j++
	:: else -> break
	od;
	j = committed;
	do
	:: j < task_end -> left = left || (!task_void[j] && task_of[j] == t && task_attempt[j] == attempt[t]); j++
	:: else -> break
	od;
	left = left || (hand != 255 && task_of[hand] == t && task_attempt[hand] == attempt[t]);
#if STRANGER
	left = left || (stranger != 255 && task_of[stranger] == t && task_attempt[stranger] == attempt[t]);
#endif
	j = applied;
	do
	:: j < reply_end ->
		left = left || (!reply_void[j] && reply_task[j] == t && reply_attempt[j] == attempt[t]);
#ifdef CHAIN
		left = left || (t == 1 && REPEATS(j));
#endif
		j++
	:: else -> break
	od;
	j = 0
}

/* A heartbeat of who holds a suspected claim was acknowledged: assumed before the next round's verdict. */
#define BEATEN(t) (suspect[t] == 0 || holds[t] != suspect[t] || beaten[t])
#if TASKS > 1
#define ALL_BEATEN (BEATEN(0) && BEATEN(1))
#else
#define ALL_BEATEN BEATEN(0)
#endif

inline pronounce(t) {
	if
	:: status[t] == RUNNING && !claimed[t] && stamp[t] < passed ->
		if
#ifdef ONE_ROUND
		:: attempt[t] < ATTEMPTS ->
#else
		:: suspect[t] != attempt[t] -> suspect[t] = attempt[t]; beaten[t] = 0
		:: suspect[t] == attempt[t] && (suspects & (1 << t)) && attempt[t] < ATTEMPTS ->
#endif
			look_for_life(t);
			assert(!left);
#ifdef P_LOST
			assert(0);
#endif
#ifdef P_LOST_SUCCESSOR
			assert(t != 1);
#endif
#ifdef P_LOST_AGAIN
			assert(attempt[t] != 2);
#endif
			left = 0; status[t] = READY; attempt[t]++; stamp[t] = 0; suspect[t] = 0
		:: else
		fi
	:: else ->
		suspect[t] = 0
	fi
}

/* The keeper's round. Its look may be that of a former sample: rounds are missed and resumed at will. */
proctype Keeper(bool first) {
	byte n = 0, least = 0, offset = 0, end = 0, passed = 0, suspects = 0, j = 0;
	bool left = 0;
	do
	:: epoch < EPOCHS ->
#ifdef M_END_BEFORE_EPOCH
		end = task_end;
#endif
		d_step { epoch++; n = epoch };
		d_step { least = n; j = 0;
			do
			:: j < ORCHESTRATORS ->
				if
				:: registered[j] -> least = MIN(least, floor[j])
				:: else
				fi; j++
			:: else -> break
			od; j = 0;
#ifdef M_NO_FLOOR
			least = n;
#endif
		};
		d_step {
#ifndef M_END_BEFORE_EPOCH
			end = task_end;
#endif
#ifdef M_FLOOR_AFTER_END
			skip };
		d_step { least = n; j = 0;
			do
			:: j < ORCHESTRATORS ->
				if
				:: registered[j] -> least = MIN(least, floor[j])
				:: else
				fi; j++
			:: else -> break
			od; j = 0;
#endif
			sample_end[sample_next] = end; sample_valid[sample_next] = least; sample_next = 1 - sample_next;
			least = 0; end = 0; n = 0 }

	:: sample_valid[0] > 0 ->
		/* The suspects of a former round that a heartbeat had time to save. */
#ifdef M_HEARTBEAT_AFTER_REPLY_ENDS
		suspects = 0;
#else
		atomic { ALL_BEATEN -> suspects = SUSPECTS };
#endif
#ifdef M_REPLY_ENDS_FIRST
		end = reply_end;
#endif
		d_step { offset = committed;
			passed = (sample_end[0] <= offset -> sample_valid[0] : 0);
			passed = (sample_end[1] <= offset -> MAX(passed, sample_valid[1]) : passed);
#ifdef M_NEWEST_SAMPLE
			passed = (passed > 0 -> MAX(sample_valid[0], sample_valid[1]) : 0);
#endif
#if STRANGER || RESET
#ifndef M_NO_MARK
			passed = (marked -> passed : 0);
#endif
#endif
#if STRANGER || RESET
			looking++;
#endif
			offset = 0 };
#ifndef M_REPLY_ENDS_FIRST
		end = reply_end;
#endif
#ifndef M_NO_WAIT
		applied >= end;
#endif
		atomic { end = 0;
#ifdef M_HEARTBEAT_AFTER_REPLY_ENDS
			ALL_BEATEN -> suspects = 3;
#endif
			pronounce(0);
#if TASKS > 1
			pronounce(1);
#endif
#if STRANGER || RESET
			looking--;
#endif
			passed = 0; suspects = 0 }

	:: atomic { first && !alive[0] && registered[0] -> registered[0] = 0; floor[0] = 0 }
	:: atomic { first && MAY_FAIL(REMOVE) && alive[0] && registered[0] -> faults++; registered[0] = 0; floor[0] = 0 }
#if ORCHESTRATORS > 1
	:: atomic { first && !alive[1] && registered[1] -> registered[1] = 0; floor[1] = 0 }
	:: atomic { first && MAY_FAIL(REMOVE) && alive[1] && registered[1] -> faults++; registered[1] = 0; floor[1] = 0 }
#endif
	od
}

init {
	atomic {
		attempt[0] = 1;
		alive[0] = 1; run Orchestrator(0);
#if ORCHESTRATORS > 1
		alive[1] = 1; run Orchestrator(1);
#endif
#if TASKS > 1
#ifdef CHAIN
		status[1] = WAITING;
#else
		attempt[1] = 1;
#endif
#endif
#ifndef CHAIN
		run Applier();
#endif
		run Worker(); run Broker(); run Keeper(1);
#if KEEPERS > 1
		run Keeper(0)
#endif
	}
}
