"""What must be true once all is quiet. Reads the database's rows, the list of changes that the triggers wrote, and the
ledgers of the world."""

from simulation.orchestrator import APPLY, Taken, careful_arguments


def check(world):
    tasks, operations = read(world)
    changes = world.session.look("select call, operation_id, task, was, now, was_attempt, attempt, was_held, held from sim.changes where operation_id = any (%s::uuid[]) order by id",
                                 list(world.submitted))
    check_operations(world, tasks, operations)
    check_grounded(world, tasks)
    check_order(world, tasks)
    check_changes(world, changes)
    check_quiet_spans(world, changes)
    check_releases(world, changes)
    check_nothing_left(world)


def read(world):
    operations = {row[0]: row[1:] for row in world.session.look("select id, status, error, retcode from kser.operations where id = any (%s::uuid[])", list(world.submitted))}
    tasks = {operation: [] for operation in operations}
    for row in world.session.look("select operation_id, position, uuid, status, attempt, retval, retcode from kser.tasks where operation_id = any (%s::uuid[])"
                                  " order by operation_id, position", list(world.submitted)):
        tasks[row[0]].append(row[1:])
    return tasks, operations


def check_operations(world, tasks, operations):
    """Everything submitted is there and has ended, in a shape that can be."""
    for operation in world.submitted:
        if operation not in operations:
            world.violation(f"{operation} was acknowledged and is gone")
        status, error, retcode = operations[operation]
        statuses = [task[2] for task in tasks[operation]]
        if [task[0] for task in tasks[operation]] != list(range(len(statuses))):
            world.violation(f"{operation}: its positions have gaps")
        done = next((i for i, s in enumerate(statuses) if s != "SUCCESS"), len(statuses))
        if status == "SUCCESS" and done != len(statuses) or status == "FAILED" and set(statuses[done + 1:]) - {"PENDING"} or status not in ("SUCCESS", "FAILED"):
            world.violation(f"{operation} is {status} with tasks {statuses}")
        # Asked to stop while a task ran that ended with SUCCESS all the same: that counts, and nothing comes after it, no plan either.
        stopped = error in ("Cancelled", "Timeout") and statuses[done:done + 1] in ([], ["PENDING"])
        if status == "FAILED" and not stopped and (done == len(statuses) or statuses[done] != "FAILED"):
            world.violation(f"{operation} is FAILED, {error}, its tasks are {statuses}")
        if (status == "SUCCESS") != (retcode == 0):
            world.violation(f"{operation} is {status} with retcode {retcode}")


def check_grounded(world, tasks):
    """Each SUCCESS is what an execution of that attempt has returned."""
    for rows in tasks.values():
        for _, uuid, status, attempt, retval, _ in rows:
            if status != "SUCCESS":
                continue
            number = (retval or {}).get("x", 0)
            if not 0 < number <= len(world.executions):
                world.violation(f"task {uuid} has a result that nobody returned: {retval}")
            execution = world.executions[number - 1]
            if execution.launch.task != uuid or execution.launch.attempt != attempt or execution.ended is None:
                world.violation(f"task {uuid} at attempt {attempt} has the result of {execution.launch}")


def check_order(world, tasks):
    """No execution of a task starts before its predecessor's SUCCESS is committed."""
    for rows in tasks.values():
        for before, after in zip(rows, rows[1:]):
            success = world.successes.get((world.timeline, before[1]))
            for execution in world.executions:
                if execution.launch.task == after[1] and execution.launch.timeline == world.timeline and (success is None or execution.started < success):
                    world.violation(f"{execution.launch} started before its predecessor had ended")


RETRY = ("retry",)
TAKEN_BACK = ("apply", "release", "expire", "lose", "new_generation", "check_identity", "overdue")


def check_changes(world, changes):
    """Attempts only grow, by one, at a start; an end stays, unless an operator tries again."""
    for call, operation, task, was, now, was_attempt, attempt, _, _ in changes:
        name = world.calls.get(call)
        if task is None:
            if was in ("SUCCESS", "FAILED") and now != was and not (was == "FAILED" and name == "retry"):
                world.violation(f"operation {operation} went from {was} to {now} in call {call}, {name}")
            continue
        starts = now == "RUNNING" and was == "PENDING"
        if attempt - was_attempt != starts:
            world.violation(f"task {task} went from {was}, attempt {was_attempt}, to {now}, attempt {attempt}, in call {call}, {name}")
        if was == "SUCCESS" and not (name == "apply" and now == "FAILED"):
            world.violation(f"task {task} was SUCCESS and became {now} in call {call}, {name}")
        if was == "FAILED" and name != "retry" and not any(c[0] == call and c[2] == task and c[4] == "FAILED" for c in changes):
            world.violation(f"task {task} was FAILED and became {now} in call {call}, {name}")
        if was == "RUNNING" and now == "PENDING" and name not in TAKEN_BACK:
            world.violation(f"task {task} was taken back by call {call}, {name}")
        if now == "RUNNING" and name not in ("admit", "apply", "apply_plain"):
            world.violation(f"task {task} was started by call {call}, {name}")


def check_quiet_spans(world, changes):
    """Between a pause and its resume, and after a cancel, nothing was started."""
    for operation, begin, end, why in world.quiet_spans:
        for call, changed, task, was, now, *_ in changes:
            if changed == operation and task and now == "RUNNING" and begin < call and (end is None or call < end):
                world.violation(f"a task of {operation} was started in call {call}, after it had been {why} in call {begin}")


LEFT = ("claims", "stops", "suspects", "ready")


def check_releases(world, changes):
    """Nobody hands back what another one has claimed."""
    for call, launch, worker in world.anothers:
        if any(change[0] == call and change[2] == launch.task and change[3] == "RUNNING" for change in changes):
            world.violation(f"{launch} was handed back by call {call}, while {worker} had it claimed")


def check_nothing_left(world):
    """No table of what is under way keeps anything; the windows are whole again."""
    for what, rows in zip(LEFT, world.session.look("select " + ", ".join(f"(select json_agg(x) from kser.{name} x)" for name in LEFT))[0]):
        if rows:
            world.violation(f"rows are left in {what}: {rows}")
    for queue, free, size in world.session.look("select f.queue, f.free, q.window_size from kser.window_free() f join kser.queues q on q.name = f.queue"):
        if free != size:
            world.violation(f"the window of queue '{queue}' has {free} of {size} places free when nothing runs")


OF_OPERATIONS = {"operations": "id", "tasks": "operation_id", "history": "operation_id", "keys": "operation_id", **{name: "operation_id" for name in LEFT}}


def check_purge(world):
    """All has ended: when it is deleted nothing of it is left, and what comes late finds nothing and changes nothing."""
    deleted = world.call("purge", "select deleted from kser.purge('0', most => 10000)")[0][0]
    world.saw("purged", deleted)
    left = "select " + ", ".join(f"(select json_agg(x) from kser.{name} x where {column} = any (%s::uuid[]))" for name, column in OF_OPERATIONS.items())
    for what, rows in zip(OF_OPERATIONS, world.session.look(left, *[list(world.submitted)] * len(OF_OPERATIONS))[0]):
        if rows:
            world.violation(f"what ended was deleted, and left in {what}: {rows}")
    late = [record for log in world.results for record in log.records if record.kind == "result"][-3:]
    late.sort(key=lambda record: (record.body["op"], record.body["pos"]))
    if late:
        rows = world.call("apply", APPLY, *careful_arguments([Taken(record, 0) for record in late], [0] * len(late)), False)
        if len(rows) != len(late) or any(row[1] not in ("unknown", "stale", "ahead") or row[4] for row in rows):
            world.violation(f"results of deleted operations were applied: {rows}")
        if world.session.look("select 1 from kser.history where operation_id = any (%s::uuid[])", list(world.submitted)):
            world.violation("results of deleted operations were kept")
