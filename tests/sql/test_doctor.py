"""kser.doctor and kser.explain: each finding is planted and found, and a healthy installation has none."""

import json

import psycopg2
import pytest

from support.waiting import wait_until

NOBODY = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
def found(user):
    """found(patience): the findings by code."""
    session = user()

    def found(patience="1 min", client_time=None):
        rows = session.rows("select * from kser.doctor(%s::timestamptz, %s)", client_time, patience)
        assert all(r["severity"] in ("error", "warning", "info") and r["finding"] and r["remedy"] for r in rows), rows
        return {r["code"]: r for r in rows if r["code"] != "setting_data_checksums"}

    return found


@pytest.fixture
def healthy(engine):
    """An orchestrator that is keeper, and a worker."""
    engine.rows("select kser.beat(gen_random_uuid(), 'host:1', '0', 1, false, true, '1 h', '8 s')")
    engine.rows("update kser.instances set beat_at = now() + interval '1 h'")
    engine.rows("select kser.seen('w1', %s)", json.dumps({"slots": 4, "free": 4, "entrypoints": [{"name": "step0"}]}))
    return engine


def test_all_is_well(healthy, found):
    assert found() == {}
    healthy.submit("x", 3)
    healthy.submit("x", 3, start_at="2999-01-01")
    assert found() == {}
    healthy.admit()
    assert found() == {}
    held = healthy.submit("x", 3)
    healthy.rows("select kser.pause(%s)", held)
    failing = healthy.submit("x", 1, policy={"max_attempts": 3, "delay": "1h"})
    healthy.apply(healthy.result(next(d for d in healthy.admit() if d["operation_id"] == failing), 1, retcode=1))
    healthy.rows("select kser.cancel(%s)", healthy.submit("x"))
    assert found() == {}


def test_nothing_at_all_runs(engine, found):
    assert found()["no_orchestrator"]["severity"] == "warning"
    engine.submit("x")
    assert found()["no_orchestrator"]["severity"] == "error"
    assert found()["no_worker"]["severity"] == "error"


@pytest.mark.parametrize("damage, code, severity", [
    ("delete from kser.ready", "stranded", "error"),
    ("update kser.tasks set status = 'SUCCESS'", "not_ended", "error"),
    ("update kser.tasks set status = 'FAILED' where position = 0", "not_ended", "error"),
    ("update kser.tasks set status = 'RUNNING' where position = 0", "not_started", "error"),
    ("update kser.operations set finished_at = now()", "status_and_times", "error"),
    ("update kser.operations set status = 'FAILED'", "status_and_times", "error"),
    ("insert into kser.ready select * from kser.ready", "ready_twice", "warning"),
    ("update kser.tasks set status = 'RUNNING' where position = 0; update kser.operations set status = 'RUNNING', started_at = now()", "running_and_ready", "warning"),
], ids=lambda v: v if " " not in v else "")
def test_an_operation_has_one_reason_to_go_on(healthy, found, damage, code, severity):
    operation = healthy.submit("x", 2)
    healthy.rows(damage)
    finding = found()[code]
    assert finding["severity"] == severity and str(operation) in finding["finding"]
    if code == "stranded":
        healthy.rows("select kser.resume(%s)", operation)
        assert found() == {}


def test_findings_are_counted_not_listed(healthy, found):
    for _ in range(5):
        healthy.submit("x")
    healthy.rows("delete from kser.ready")
    text = found()["stranded"]["finding"]
    assert text.startswith("5 operations") and text.count("-7") >= 3 and text.endswith("...")


CLAIM = ("insert into kser.claims (operation_id, position, uuid, attempt, worker, claimed_at, renewed_at)"
         " select operation_id, position, uuid, %s, 'w1', now(), now() - interval '1 h' from kser.tasks where position = 0")
PROOF = ("insert into kser.proofs (queue, epoch, looked_at, committed, ends, passed, problems, since)"
         " values ('', 1, now() - %s::interval, '{1,1}', '{2,2}', '{null,5}', array[%s, null], array[now(), now()])")


def test_claims_and_stops(healthy, found):
    operation = healthy.submit("x", 2)
    healthy.admit()
    healthy.rows(CLAIM, 1)
    assert set(found()) == {"claims_silent"}
    healthy.rows("update kser.claims set attempt = 7")
    assert set(found()) == {"claims_orphaned"}
    healthy.rows("delete from kser.claims")
    healthy.rows("select kser.cancel(%s)", operation)
    assert found() == {}
    healthy.rows("update kser.stops set asked_at = now() - interval '1 h'")
    assert set(found()) == {"stops_stuck"}


def test_orchestrators(healthy, found):
    healthy.rows("update kser.instances set keeper_until = now() - interval '1 s'")
    assert set(found()) == {"no_keeper"}
    healthy.rows("insert into kser.instances (id, name, version, floor, started_at, beat_at) values (gen_random_uuid(), 'frozen:7', '0', 1, now(), now() - interval '1 h')")
    assert "frozen:7" in found()["instance_silent"]["finding"]
    healthy.rows("select kser.halt('the database was set back')")
    assert found()["halted"]["severity"] == "error" and "was set back" in found()["halted"]["finding"]


def test_workers_of_one_queue_that_differ(healthy, found):
    def seen(worker, *names, queue=""):
        healthy.rows("select kser.seen(%s, %s)", worker, json.dumps({"queue": queue, "slots": 4, "free": 4, "entrypoints": [{"name": name} for name in names]}))
    seen("w2", "step0")
    seen("elsewhere", "other", queue="gpu")
    seen("silent")
    assert found() == {}
    seen("w3", "step0", "step1", "step2")
    assert set(found()) == {"entrypoints_differ"}
    assert 'queue "": w1 (and 1 more) does not serve step1, step2' in found()["entrypoints_differ"]["finding"]
    healthy.rows("update kser.workers set left_at = now() where incarnation = 'w3'")
    assert found() == {}


def test_proofs(healthy, found):
    healthy.rows(PROOF, "0 s", "no worker has committed an offset yet")
    assert found() == {}, "nothing runs that could be lost"
    operation = healthy.submit("x", 2)
    assert found() == {}, "nothing was sent yet"
    healthy.admit()
    assert "partitions 0" in found()["no_proof"]["finding"] and "no worker has committed" in found()["no_proof"]["finding"]
    healthy.rows("update kser.tasks set queue = 'another'")
    assert "no_proof" not in found()
    healthy.rows("update kser.tasks set queue = ''")
    healthy.rows("select kser.pause(%s)", operation)
    assert found() == {}, "is looked for when it is resumed"
    healthy.rows("select kser.resume(%s)", operation)
    assert set(found()) == {"no_proof"}
    healthy.rows("delete from kser.proofs")
    healthy.rows("update kser.tasks set dispatched_at = now() - interval '1 h' where status = 'RUNNING'")
    assert "never" in found()["rounds_stopped"]["finding"]
    healthy.rows(PROOF, "30 min", None)
    assert set(found()) == {"rounds_stopped"}
    healthy.rows("update kser.proofs set looked_at = now()")
    assert found() == {}


def test_queues(healthy, found):
    healthy.rows("update kser.queues set backlog = 1000001, is_full = true")
    assert found()["backlog_full"]["severity"] == "error"
    healthy.rows("update kser.queues set backlog = 900000, is_full = false")
    assert set(found()) == {"backlog_high"}
    healthy.rows("update kser.queues set backlog = 0")
    later = healthy.submit("x", queue="gpu", start_at="2999-01-01")
    assert found() == {}, "not due"
    healthy.submit("x", queue="gpu")
    assert '"gpu"' in found()["no_worker"]["finding"] and "--queue gpu" in found()["no_worker"]["remedy"]
    healthy.admit(queue="gpu")
    assert "no_worker" in found(), "on its way to nobody"
    healthy.rows("select kser.seen('w2', %s)", json.dumps({"queue": "gpu"}))
    assert found() == {} and later


def test_dead_letters(healthy, found):
    healthy.rows("select kser.bury('t', 1, 2, 'is no JSON', 'x', null)")
    assert "is no JSON" in found()["dead_letters"]["finding"]
    healthy.rows("select kser.redrive_dead(null)")
    assert found() == {}
    healthy.rows("update kser.dead_letters set redrive_at = now() - interval '1 h'")
    assert set(found()) == {"redrive_stuck"}


def test_the_clock(healthy, found, engine):
    assert found(client_time=engine.value("select clock_timestamp()")) == {}
    assert "clock" in found(client_time=engine.value("select clock_timestamp() + interval '1 min'"))


def test_settings_that_endanger(healthy, user):
    session = user()
    session.rows("set synchronous_commit = off")
    assert "setting_synchronous_commit" in {r["code"] for r in session.rows("select * from kser.doctor()")}


def test_settings_of_the_server(healthy, found, postgres, database):
    def set_all(value):
        for name in ("fsync", "full_page_writes", "autovacuum"):
            postgres.execute(f"alter system {'set' if value else 'reset'} {name}{' = off' if value else ''}")
        postgres.execute("select pg_reload_conf()")

    set_all(True)
    try:
        wait_until(lambda: {"setting_fsync", "setting_full_page_writes", "setting_autovacuum"} <= set(found()), 10, "the settings to hold")
        assert found()["setting_fsync"]["severity"] == "error"
    finally:
        set_all(False)
    wait_until(lambda: found() == {}, 10, "the settings to be as they were")


def test_old_snapshots_and_idle_transactions(healthy, found, user):
    reader = user(autocommit=False)
    reader.rows("set transaction isolation level repeatable read")
    reader.value("select count(*) from kser.tasks")
    assert found() == {}, "not for long yet"
    codes = found(patience="0 s")
    pid = str(reader.connection.get_backend_pid())
    assert pid in codes["old_snapshot"]["finding"] and pid in codes["idle_in_transaction"]["remedy"]
    reader.connection.rollback()
    assert not {"old_snapshot", "idle_in_transaction"} & set(found(patience="0 s"))


def test_replication_slots(healthy, found, engine):
    name = engine.value("select slot_name::text from pg_create_physical_replication_slot('t' || pg_backend_pid())")
    try:
        assert name in found()["replication_slot"]["finding"]
    finally:
        engine.rows("select pg_drop_replication_slot(%s)", name)


def test_dead_rows(healthy, found, engine, database):
    healthy.rows("alter table kser.ready set (autovacuum_enabled = off)")
    healthy.rows("insert into kser.ready select '', 0, now() + interval '1 d', gen_random_uuid(), 0, 0, false from generate_series(1, 25000)")
    healthy.rows("delete from kser.ready")

    def told():
        database.value("select pg_stat_force_next_flush()") if engine.connection.server_version >= 160000 else None
        return "kser.ready" in found().get("dead_rows", {"finding": ""})["finding"]

    healthy.rows("select 1")
    engine.connection.close()  # what a session did is reported at its end at the latest
    wait_until(told, 15, "the dead rows to be told")


def test_who_may_ask(engine, user):
    session = user()
    session.rows("set role kser_operate")
    session.rows("select * from kser.doctor()")
    session.rows("select * from kser.explain(%s)", NOBODY)
    session.rows("reset role")
    session.rows("set role kser_read")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session.rows("select * from kser.doctor()")


def explained(engine, operation):
    return {r["code"]: r for r in engine.rows("select * from kser.explain(%s)", operation)}


def test_explain(healthy):
    assert explained(healthy, NOBODY) == {}
    first, second = healthy.submit("x", 2), healthy.submit("x", 2)
    assert "1 tasks are before it" in explained(healthy, second)["due"]["finding"]
    later = healthy.submit("x", start_at="2999-01-01")
    assert "2999" in explained(healthy, later)["not_due"]["finding"]
    dispatches = {d["operation_id"]: d for d in healthy.admit()}
    assert "no worker has claimed it" in explained(healthy, first)["on_its_way"]["finding"]
    healthy.rows(PROOF, "0 s", "no worker has committed an offset yet")
    healthy.rows("update kser.tasks set partition = 0 where operation_id = %s", first)
    assert explained(healthy, first)["on_its_way"]["finding"].endswith(
        " and no worker has claimed it; workers are at 1 of 2 there; should it be lost, nobody can tell: no worker has committed an offset yet")
    healthy.rows("update kser.proofs set committed = '{null,null}'")
    assert explained(healthy, first)["on_its_way"]["finding"].endswith(" and no worker has claimed it; should it be lost, nobody can tell: no worker has committed an offset yet")
    healthy.rows("update kser.proofs set problems = '{null,null}'")
    assert explained(healthy, first)["on_its_way"]["finding"].endswith(" and no worker has claimed it")
    healthy.rows("insert into kser.claims (operation_id, position, uuid, attempt, worker, claimed_at, renewed_at) values (%s, 0, %s, 1, 'w7', now(), now())", first, dispatches[first]["uuid"])
    assert "held by worker w7" in explained(healthy, first)["claimed"]["finding"]
    healthy.rows("select kser.pause(%s, 'lunch')", second)
    assert "lunch" in explained(healthy, second)["held"]["finding"] and "on_its_way" in explained(healthy, second)
    healthy.rows("select kser.cancel(%s)", second)
    assert "Cancelled" in explained(healthy, second)["stopping"]["finding"]
    healthy.rows("select kser.cancel(%s)", later)
    assert "FAILED" in explained(healthy, later)["ended"]["finding"] and "retry" in explained(healthy, later)["ended"]["remedy"]
    gpu = healthy.submit("x", queue="gpu")
    assert set(explained(healthy, gpu)) == {"due", "no_worker"}
    other = healthy.submit("x", queue="g_u")
    healthy.rows("insert into kser.workers (incarnation, queue, started_at, seen_at) values ('w8', 'g_u', now(), now())")
    assert set(explained(healthy, other)) == {"due"}, "another queue has no worker"
    healthy.rows("delete from kser.ready")
    assert "stranded" in explained(healthy, gpu)


def test_explain_without_an_orchestrator(healthy):
    due, later, held, ended = healthy.submit("x"), healthy.submit("x", start_at="2999-01-01"), healthy.submit("x"), healthy.submit("x")
    healthy.rows("select kser.pause(%s)", held)
    healthy.rows("select kser.cancel(%s)", ended)
    healthy.rows("update kser.instances set beat_at = now() - interval '7 s'")
    for operation, codes in ((due, ["no_orchestrator", "due"]), (later, ["no_orchestrator", "not_due"]), (held, ["held", "no_orchestrator"]), (ended, ["ended"]), (NOBODY, [])):
        assert list(explained(healthy, operation)) == codes
    assert "kser-orchestrator" in explained(healthy, due)["no_orchestrator"]["remedy"]
    healthy.rows("update kser.instances set beat_at = now()")
    assert set(explained(healthy, due)) == {"due"}


# --- Dead letters and policies


def test_redrive_and_drop(engine):
    for offset, size in ((1, 10), (2, 100000)):
        engine.rows("select kser.bury('t', 0, %s, 'why', %s, null)", offset, b"x" * size)
    whole, cut = [r["id"] for r in engine.rows("select id from kser.dead_letters order by id")]
    rows = {r["id"]: r for r in engine.rows("select * from kser.redrive_dead(%s::bigint[], 'mended')", [whole, cut, 999])}
    assert {i: r["answer"] for i, r in rows.items()} == {whole: "asked", cut: "refused", 999: "missing"}
    assert "65536 of its 100000 bytes" in rows[cut]["detail"]
    assert [r["id"] for r in engine.rows("select * from kser.take_redrive(10)")] == [whole]
    assert engine.rows("select * from kser.redrive_dead(%s::bigint[], 'again')", [whole])[0]["answer"] == "asked"
    noted, = engine.rows("select * from kser.history where kind = 'redrive'")
    assert (noted["reason"], noted["detail"]["dead_letter"], noted["actor"]) == ("mended", whole, "postgres")
    rows = {r["id"]: r["answer"] for r in engine.rows("select * from kser.drop_dead(%s::bigint[], 'noise')", [cut, 999])}
    assert rows == {cut: "dropped", 999: "missing"}
    assert engine.value("select detail ->> 'dead_letter' from kser.history where kind = 'drop'") == str(cut)


def test_one_of_unknown_size_that_may_be_cut_is_refused(engine):
    engine.rows("insert into kser.dead_letters (topic, partition, kafka_offset, reason, bytes) values ('t', 0, 1, 'why', %s)", b"x" * 65536)
    assert engine.rows("select * from kser.redrive_dead(array(select id from kser.dead_letters))")[0]["answer"] == "refused"


@pytest.mark.parametrize("entrypoint, policy, reason", [
    ("", {"max_attempts": 2}, "entrypoint: must have"), ("a", {"tries": 2}, 'policy: unknown key "tries"'), ("a", {}, "policy: is empty"), ("a", [], "policy: must be an object"),
    ("a", {"timeout": "soon"}, "policy.timeout: is not a duration"), ("a", {"max_attempts": 0}, "policy.max_attempts: 0 (no limit) needs a budget"),
    ("a", {"max_attempts": 0, "budget": None}, "policy.max_attempts: 0 (no limit) needs a budget"), (None, {"max_attempts": 2}, "entrypoint: is missing")], ids=str)
def test_a_wrong_policy_is_refused(engine, entrypoint, policy, reason):
    with pytest.raises(psycopg2.errors.InvalidParameterValue) as refused:
        engine.rows("select kser.set_policy(%s, %s)", entrypoint, json.dumps(policy))
    assert reason in str(refused.value) and engine.value("select count(*) from kser.policies") == 0


def test_a_policy_of_an_entrypoint(engine):
    engine.rows("select kser.set_policy('a', '{\"max_attempts\": 2}', 'flaky')")
    engine.rows("select kser.set_policy('a', '{\"max_attempts\": 3}')")
    assert engine.value("select policy from kser.policies") == {"max_attempts": 3}
    assert engine.tasks(engine.submit("a"))[0]["policy"] == {"max_attempts": 3}
    engine.rows("select kser.set_policy('b', '{\"max_attempts\": 0, \"budget\": \"1h\"}')")
    assert engine.submit("b")
    engine.rows("select kser.drop_policy('b')")
    engine.rows("select kser.drop_policy('a')")
    with pytest.raises(psycopg2.errors.NoDataFound, match='there is no policy of entrypoint "a"'):
        engine.rows("select kser.drop_policy('a')")
    assert [r["reason"] for r in engine.rows("select reason from kser.history where kind = 'policy' order by id")] == ["flaky", None, None, None, None]
