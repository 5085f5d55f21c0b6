-- Keeps the ends of a queue's task partitions for the proof of loss: every dispatch with an epoch below `valid` is below these
-- ends or will never be in the log. Called with the ends as they were read after round_begin().
--
--   ends  by partition, from 0; null: not known
--
-- Ends that did not move raise the newest sample. At most 100 are kept, the older the further apart: a queue that is an hour
-- behind needs samples of an hour ago.
create or replace function kser.sample(queue text, epoch bigint, valid bigint, ends bigint[]) returns void language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	kept_max constant integer := 100;
	newest samples;
begin
	select * into newest from samples s where s.topic = sample.queue order by s.epoch desc limit 1;
	if newest.epoch >= sample.epoch then
		return; -- the round of a keeper that was away
	elsif newest.ends = sample.ends then
		update samples s set epoch = sample.epoch, valid = greatest(s.valid, sample.valid), taken_at = clock_timestamp() where s.topic = newest.topic and s.epoch = newest.epoch;
		return;
	end if;
	insert into samples (topic, epoch, valid, ends, taken_at) values (sample.queue, sample.epoch, sample.valid, sample.ends, clock_timestamp());
	if (select count(*) from samples s where s.topic = sample.queue) > kept_max then
		-- The one whose neighbours are closest together, measured by its age.
		delete from samples s where s.topic = sample.queue and s.epoch = (
			select g.epoch from (
				select o.epoch, lead(o.epoch) over by_epoch - lag(o.epoch) over by_epoch as gap from samples o where o.topic = sample.queue window by_epoch as (order by o.epoch)
			) as g where g.gap is not null order by g.gap::float8 / (sample.epoch - g.epoch + 1), g.epoch limit 1);
	end if;
end
$$;
