"""The program kser, and operations moved by hand."""

import json

MISSING = "01890000-0000-7000-8000-000000000000"


class Kser:
    """kser(...) runs one subcommand against the database: a CompletedProcess with text."""

    def __init__(self, processes, database):
        self.processes = processes
        self.database = database

    def __call__(self, *arguments, **options):
        return self.processes.run("kser", "--database", self.database, *arguments, **options)

    def submit(self, *tasks, name="test", **further):
        """Submits one operation through the program; returns its id."""
        submission = {"name": name, **({"tasks": list(tasks)} if tasks else {}), **further}
        done = self("submit", "-", input=json.dumps(submission))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def step(self, id, position, status, retcode=None, attempt=1, **columns):
        """Moves one task of an operation, as the engine would, and the operation with it; one transaction."""
        assignments = "".join(f", {name} = %s" for name in columns)
        values = [json.dumps(value) if isinstance(value, dict) else value for value in columns.values()]
        ended = status in ("SUCCESS", "FAILED")
        self.database.query(
            "update kser.tasks set status = %s, attempt = greatest(attempt, %s), dispatched_at = coalesce(dispatched_at, clock_timestamp()),"
            f" finished_at = case when %s then clock_timestamp() end, retcode = %s{assignments} where operation_id = %s and position = %s;"
            "update kser.operations as o set started_at = coalesce(started_at, clock_timestamp()), status = case"
            " when exists (select from kser.tasks where operation_id = o.id and status = 'FAILED') then 'FAILED'"
            " when exists (select from kser.tasks where operation_id = o.id and status <> 'SUCCESS') then 'RUNNING'"
            " else 'SUCCESS' end::kser.status where id = %s;"
            "update kser.operations set finished_at = clock_timestamp(), retcode = %s, error = %s, retval = %s"
            " where id = %s and status in ('SUCCESS', 'FAILED')",
            status, attempt, ended, retcode, *values, id, position, id, retcode, columns.get("error"), json.dumps(columns.get("retval", {})), id)
