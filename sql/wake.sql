-- Tells an orchestrator that sleeps that something is due, once the caller's transaction has committed. One that is awake
-- looks by itself; a wake-up that is missed is made good within a second.
create or replace function kser.wake() returns void language plpgsql volatile as $$
begin
	if exists (select from kser.instances where sleeping) then
		notify kser_ready;
	end if;
end
$$;
