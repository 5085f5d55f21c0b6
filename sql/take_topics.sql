-- An orchestrator is about to join with this prefix of topics. Returns the prefix that this database's tasks go to: two would take each
-- other's work, and no one could prove what was lost. The first one that comes decides; kser.new_generation lets it be another one once
-- no orchestrator is there any more.
create or replace function kser.take_topics(prefix text) returns text language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
begin
	update meta set topic_prefix = prefix where topic_prefix is null;
	return (select m.topic_prefix from meta m);
end
$$;
