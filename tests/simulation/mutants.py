"""Bugs to plant: each is a rule of the protocol left out, in a function (a piece of its text replaced; it must be there) or in the
programs as the simulator plays them (a switch). Each must be shown by a schedule, or by the two-session scenario named with it."""

from simulation import scenarios


class Mutant:
    def __init__(self, what, *patches, switches=(), theme=None, scenario=None):
        self.what = what
        self.patches = patches    # (file in sql/, old text, new text)
        self.switches = switches
        self.theme = theme        # of the schedules that look for it
        self.scenario = scenario


COMPARE = "k.status = 'RUNNING' and k.uuid = r.uuid and k.attempt = r.attempt\n\t\treturning"
PLAIN = "statements/apply_plain.sql"
USABLE = "where generation = m.generation and epoch <= m.epoch and (not careful or input = any (got))\n\t\torder by operation, position, uuid, attempt, input"

MUTANTS = {
    "no_attempt_check": Mutant(
        "a result ends its task whatever attempt it answers",
        ("apply_results.sql", COMPARE, COMPARE.replace(" and k.attempt = r.attempt", "")), theme="replies"),
    "no_uuid_check": Mutant(
        "a result ends the task at its position, whoever it answers",
        ("apply_results.sql", COMPARE, COMPARE.replace(" and k.uuid = r.uuid", "")), theme="replies"),
    "held_read_before_the_wait": Mutant(
        "`held` is read in the statement that waits for the task's row",
        ("apply_results.sql", "k.partition, k.queue, k.mark\n", "k.partition, k.queue, k.mark, (select h.held from operations h where h.id = k.operation_id) as held\n"),
        ("apply_results.sql", "array_agg(e.queue) as queues,", "array_agg(e.queue) as queues, array_agg(e.held) as helds,"),
        ("apply_results.sql", "won.queues, won.partitions) as w (input, operation, position, status, queue, partition)\n\t\t\tjoin operations",
         "won.queues, won.partitions, won.helds) as w (input, operation, position, status, queue, partition, held)\n\t\t\tjoin operations"),
        ("apply_results.sql", "and not o.held and successor_fits", "and not w.held and successor_fits"),
        scenario=scenarios.result_waits_for_pause),
    "no_second_look_of_a_verb": Mutant(
        "a verb takes the row it waited for as the current task's",
        ("lock_current.sql", "if present is null or present = locked then",
         "if locked >= 0 then\n\t\t\tpresent := locked;\n\t\tend if;\n\t\tif present is null or present = locked then"),
        scenario=scenarios.pause_waits_for_result),
    "no_answer_check": Mutant(
        "any result of an attempt that has ended gives its successor's dispatch again",
        ("lost_results.sql", "when k.answer = r.answer and k.attempt", "when k.attempt"),
        ("lost_results.sql", " and p.answer = lost.answer\n", "\n"), theme="replies"),
    "no_restamp": Mutant(
        "a dispatch that is given again keeps its old epoch",
        ("lost_results.sql", "update tasks n set epoch = m.epoch", "update tasks n set epoch = n.epoch"),
        scenario=scenarios.dispatch_after_a_long_sleep),
    "no_floor": Mutant("the floor does not heed dispatches without acknowledgement", switches=("floor",), theme="proof"),
    "no_call_under_way": Mutant("the floor does not heed calls under way", switches=("call_under_way",), theme="proof"),
    # A second look after two seconds would cover this one up: it is taken away.
    "replies_noted_before_the_offsets": Mutant(
        "the replies' ends are noted before the workers' committed offsets are read",
        ("lose.sql", 's.since <= proof.looked_at - "between"', "true"),
        switches=("replies_noted_before_the_offsets",), scenario=scenarios.answer_in_the_middle_of_a_round),
    "no_wait_for_the_replies": Mutant("a round does not wait until the replies that it noted are applied", switches=("no_wait_for_the_replies",), theme="proof"),
    "offset_before_the_answer": Mutant("a worker's offset passes what is neither answered nor claimed", switches=("offset_before_the_answer",), theme="proof"),
    "offset_before_apply": Mutant("a lane's offset passes replies that are not applied", switches=("offset_before_apply",), theme="proof"),
    "offset_before_acknowledgement": Mutant("a lane's offset passes replies whose dispatches are not acknowledged", switches=("offset_before_acknowledgement",),
                                            scenario=scenarios.death_before_the_dispatch_left),
    "heartbeat_is_no_claim": Mutant("a heartbeat only renews what is claimed already", switches=("heartbeat_is_no_claim",), theme="claims"),
    "no_gate_of_a_lease": Mutant("claims are ended before the replies of the round are applied", switches=("no_gate_of_a_lease",), theme="claims"),
    "claim_before_task": Mutant(
        "the sweeper takes the claim first and waits for the task",
        ("expire.sql", "\t\t\t\torder by c.operation_id, c.position) as c,", "\t\t\t\torder by c.operation_id, c.position for update) as c,"),
        ("expire.sql", "for update skip locked) as l\n\tloop", "for update) as l\n\tloop"),
        scenario=scenarios.result_of_a_claim_that_lapses),
    "one_statement_shift": Mutant(
        "a plan makes room for itself in one statement",
        ("insert_plan.sql", "update kser.tasks set position = -position where operation_id = operation and position > after;",
         "update kser.tasks set position = position + room where operation_id = operation and position > after;")),
    "generation_as_a_counter": Mutant(
        "a new generation is the next number",
        ("generation.sql", "update meta set generation = random_generation(),", "update meta set generation = generation + 1,"), theme="restores"),
    "window_by_operations": Mutant(
        "paused operations hold their places in the window",
        ("window_free.sql", "o.started_at is not null and o.finished_at is null and not o.held)\n", "o.started_at is not null and o.finished_at is null)\n"), theme="steering"),
    "dedupe_before_filter": Mutant(
        "of two results for an attempt the first is taken before both are looked at",
        ("apply_results.sql", USABLE, "order by operation, position, uuid, attempt, input"),
        ("apply_results.sql", "from usable r\n\t\twhere ", "from usable r\n\t\twhere generation = m.generation and r.epoch <= m.epoch and (not careful or input = any (got)) and "),
        theme="replies"),
    "ready_is_trusted": Mutant(
        "what stands in `ready` is started unseen",
        ("admit.sql", " and k.attempt = d.attempt and k.status = 'PENDING'", ""), theme="steering"),

    # Further ones, of the same kind.
    "held_is_not_asked": Mutant("a success starts the next task of a paused operation", ("apply_results.sql", "and not o.held and successor_fits", "and successor_fits"),
                                theme="steering"),
    "stop_is_not_asked": Mutant("a success starts the next task of an operation that is being cancelled", ("apply_results.sql", "if won.any_marked then\n\t\t-- But", "if false then\n\t\t-- But"), theme="steering"),
    "claimed_can_be_lost": Mutant(
        "the proof of loss does not ask for claims",
        ("lose.sql", "\n\t\tand not exists (select from claims c where c.operation_id = operation and c.position = at and c.attempt = k.attempt)", ""),
        ("running_tasks.sql", "\n\t\tand not exists (select from claims h where h.operation_id = k.operation_id and h.position = k.position and h.attempt = k.attempt)", ""), theme="claims"),
    "release_of_anothers_claim": Mutant("who does not hold the claim can hand the task back", ("release.sql", "continue when back.worker <> of_worker;", ""), theme="claims"),

    # The statement for plain successes.
    "plain_without_mark": Mutant("a plain success of a marked task is taken", (PLAIN, " and k.mark = 0", ""), theme="steering"),
    "plain_without_attempt": Mutant("a plain success ends its task whatever attempt it answers", (PLAIN, " and k.attempt = ($6::integer[])[r.input]", ""), theme="replies"),
    "plain_without_uuid": Mutant("a plain success ends the task at its position, whoever it answers", (PLAIN, "\n\t\tand k.uuid = ($5::uuid[])[r.input]", ""), theme="replies"),
    "plain_without_generation": Mutant("a plain success of another generation is taken", (PLAIN, " and generation = $1", ""), theme="restores"),
    "plain_without_epoch": Mutant("a plain success of an epoch to come is taken", (PLAIN, " and epoch >= $2", ""), theme="replies"),
    # Either alone is covered up by the other, since whoever pauses marks: tests/sql/test_plain.py shows them one by one.
    "plain_while_held": Mutant("a plain success starts the next task of a paused operation, marked or not",
                               (PLAIN, " and not o.held", ""), (PLAIN, " and k.mark = 0", ""), theme="steering"),
    "plain_to_another_queue": Mutant("a plain success starts the next task in another queue at once", (PLAIN, " and n.queue = k.queue", "")),
    "plain_without_its_record": Mutant("a plain success does not note the record that it came in", (PLAIN, " answer = ($7::bigint[])[r.input],", "")),
    "plain_at_another_moment": Mutant("what a plain success starts has a moment of its own", (PLAIN, "dispatched_at = (select t from m)\n", "dispatched_at = clock_timestamp()\n")),
    "verbs_do_not_mark": Mutant("a verb does not mark the running task", ("lock_current.sql", "set mark = k.mark | 2 where", "set mark = k.mark where"),
                                scenario=scenarios.plain_success_waits_for_pause),
    "claims_do_not_mark": Mutant("a claim does not mark its task", ("hold.sql", "set mark = k.mark | 2 from", "set mark = k.mark from"),
                                 scenario=scenarios.plain_success_waits_for_claim),
}
