"""Runs one message through the fleet's own controller and keeps what came of it."""

from collections.abc import Mapping

from cdumay_result import Result
from kser.sequencing.operation import Operation

from .tracing import Off
from .wire import failed

EMPTY = "Nothing to do, empty operation !"


class Outcome:
    """result: what is reported. own: what the entrypoint returned by itself. plan: the tasks of an operation. params and
    metadata: those of the message after the run."""

    def __init__(self, message):
        self.message = message
        self.entrypoint = None
        self.result = None
        self.own = None
        self.plan = None

    @property
    def params(self):
        return self.message.params

    @property
    def metadata(self):
        if self.entrypoint is None:
            return self.message.metadata
        return self.entrypoint.to_Message(self.result).metadata or {}


def run(controller, raw, message, queue="", spans=Off()):
    """Runs `message`, whose record said `raw`, as `controller.run(raw)` does: the same log lines, the same triggers. An
    operation is not run but built, and its tasks are the plan: the orchestrator sends each where its turn is."""
    outcome = Outcome(message)
    watching = watching_controller(controller, outcome, queue, spans)
    try:
        returned = watching.run(raw)
    except Exception as reason:
        returned = Result.from_exception(reason, message.uuid)
    if isinstance(returned, Result):
        outcome.result = returned
    if outcome.result is None:
        outcome.result = failed(message.uuid, "InternalError", 500, "the entrypoint has no result")
    return outcome


def watching_controller(controller, outcome, queue, spans):
    """The fleet's controller, of the same name, with a transport that has read the message already, and with an eye on what it runs."""
    base = controller if isinstance(controller, type) else type(controller)

    def settles(trigger):
        def settle(cls, kmsg, result):
            outcome.result = result
            return trigger(cls, kmsg=kmsg, result=result)
        return classmethod(settle)

    return type(base.__name__, (base,), {
        "__module__": base.__module__,
        "TRANSPORT": ReadAlready(outcome.message),
        "ENTRYPOINTS": Watched(base.ENTRYPOINTS, outcome, queue, spans),
        "_onsuccess": settles(base._onsuccess.__func__),
        "_onerror": settles(base._onerror.__func__),
    })


class ReadAlready:
    def __init__(self, message):
        self.message = message

    def loads(self, _):
        return self.message


class Watched(Mapping):
    """The registered entrypoints, each with an eye on what it makes."""

    def __init__(self, entrypoints, outcome, queue, spans):
        self.entrypoints = entrypoints
        self.outcome = outcome
        self.queue = queue
        self.spans = spans

    def __getitem__(self, name):
        return Execution(self.entrypoints[name], self.outcome, self.queue, self.spans)

    def __iter__(self):
        return iter(self.entrypoints)

    def __len__(self):
        return len(self.entrypoints)


class Execution:
    """Stands where the controller expects the class of an entrypoint and then its instance."""

    def __init__(self, entrypoint, outcome, queue, spans):
        self.entrypoint = entrypoint
        self.outcome = outcome
        self.queue = queue
        self.spans = spans

    def from_Message(self, kmsg):
        self.outcome.message = kmsg
        self.outcome.entrypoint = self.entrypoint.from_Message(kmsg)
        return self

    def execute(self):
        instance = self.outcome.entrypoint
        with self.spans.execution(instance, self.outcome.message, self.queue) as tell:
            result = self.plan(instance) if isinstance(instance, Operation) else self.run_task(instance)
            if isinstance(result, Result):
                tell(result)
            return result

    def run_task(self, instance):
        instance._onsuccess = self.noticing(instance, instance._onsuccess)
        instance._onerror = self.noticing(instance, instance._onerror)
        try:
            return instance.execute()
        except SystemExit as reason:  # else a task could end every worker that it comes to
            return instance._onerror(failed(instance.uuid, "InternalError", 500, "left with exit status {}".format(reason)))

    def noticing(self, instance, trigger):
        """Both triggers are given what the task returned (or raised) by itself, before it is added to what came with the task."""
        def notice(result):
            if isinstance(result, Result) and result is not instance.result:
                self.outcome.own = {"stdout": result.stdout, "stderr": result.stderr, "retval": dict(result.retval)}
            return trigger(result)
        return notice

    def plan(self, operation):
        try:
            if not operation.tasks:
                operation.build(**operation.params)
            planned = [element for task in operation.tasks for element in planned_of(task, self.queue)]
        except Exception as reason:
            return operation._onerror(Result.from_exception(reason, operation.uuid))
        if not planned:
            return operation._onerror(Result(uuid=operation.uuid, retcode=1, stderr=EMPTY))
        self.outcome.plan = planned
        return operation.result


def planned_of(task, queue):
    """The elements of a plan that a task stands for: itself, or the tasks of an operation that is built already."""
    if isinstance(task, Operation) and task.tasks:
        return [element for inner in task.tasks for element in planned_of(inner, queue)]
    element = {"entrypoint": type(task).path, "params": task.params}
    element["queue"] = getattr(task, "queue", queue)  # "" is the default queue: without it, the task would stay in the operation's
    metadata = {key: value for key, value in task.metadata.items() if key != "kser"}
    if metadata:
        element["metadata"] = metadata
    return [element]
