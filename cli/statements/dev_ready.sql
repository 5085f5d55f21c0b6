-- Whether an orchestrator and a worker have started since.
--   $1 timestamptz: since when
select exists (select from kser.instances where started_at >= $1::timestamptz) as orchestrator,
	exists (select from kser.workers where started_at >= $1::timestamptz and left_at is null) as worker;
