"""The statement for plain successes and kser.apply_results, on the same results in the same state: they must leave the same rows behind and
give the same answers. What the statement leaves alone is given to the function, as a lane does."""

import re

import psycopg2

# What differs by its nature: identities that are drawn, moments by microseconds (that a start has its predecessor's moment is a column here).
OTHERWISE = {
    "history": "to_jsonb(t) - 'id'",
    "tasks": "to_jsonb(t) || jsonb_build_object('started_with_its_predecessor', t.dispatched_at = (select p.finished_at from kser.tasks p where p.operation_id = t.operation_id"
             " and p.position = t.position - 1))",
}
TABLES = "select relname from pg_class where relnamespace = 'kser'::regnamespace and relkind = 'r'"


def difference(session, plain, careful):
    """None when there is none. plain, careful: a statement and its arguments; to those of `careful` belongs whether it waits."""
    try:
        return compared(session, plain, careful)
    except psycopg2.Error as error:
        return f"plain successes: the database says {error.pgcode}: {error.diag.message_primary}"


def compared(session, plain, careful):
    with session.undone():
        rows = session.look(plain[0], *plain[1])
        answers = {row[0]: ("won", row[1], *row[2:]) for row in rows}
        left = [i for i in range(len(plain[1][2])) if i + 1 not in answers]
        if left:
            part = [value and [value[i] for i in left] for value in careful[1]]
            answers.update({left[row[0] - 1] + 1: brief(row) for row in session.look(careful[0], *part, False)})
        fast = state(session, answers)
    with session.undone():
        slow = state(session, {row[0]: brief(row) for row in session.look(careful[0], *careful[1], False)})
    if fast == slow:
        return None
    return f"plain successes differ: {sorted(fast - slow)} by the statement, {sorted(slow - fast)} by the function"


def brief(row):
    """Of an answer of the function what the statement answers, too."""
    _, verdict, freed, queue, uuid, _, _, attempt, _, epoch, _, *message = row
    return (verdict, freed, queue if uuid else None, uuid, attempt, epoch, *message)


def state(session, answers):
    tables = [name for name, in session.look(TABLES)]
    texts = [row[0] for row in session.look(" union all ".join(f"select '{name}: ' || ({OTHERWISE.get(name, 'to_jsonb(t)')})::text from kser.{name} t" for name in tables))]
    texts += [f"answer {number}: {(verdict, freed, queue if uuid else None, uuid, *others)}" for number, (verdict, freed, queue, uuid, *others) in answers.items()]
    return {re.sub(r"(:\d\d\.\d)\d+", r"\1", text) for text in texts}
