-- Sets the default policy of an entrypoint: keys that an operation or a task does not have in its own policy are taken from it at submit. Raises 22023
-- with the reason for what is no entrypoint or no policy, and for tries without a limit and a budget: not all operations have a deadline.
create or replace function kser.set_policy(entrypoint text, policy jsonb, reason text default null) returns void language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
declare
	problem constant text := coalesce(name_problem(to_jsonb(entrypoint), 'entrypoint'), case when policy is null or policy in ('null', '{}') then 'policy: is empty; drop it instead' end,
		policy_problem(policy, 'policy'),
		-- Each submit that says nothing of its own would be refused, far from where the mistake was made.
		case when is_endless(policy::json, null) then 'policy.max_attempts: 0 (no limit) needs a budget; submits without a deadline would be refused' end);
begin
	if problem is not null then
		raise exception using errcode = '22023', message = problem;
	end if;
	insert into policies as p (entrypoint, policy, set_at, actor) values (set_policy.entrypoint, set_policy.policy::json, clock_timestamp(), session_user)
	on conflict on constraint policies_pkey do update set policy = excluded.policy, set_at = excluded.set_at, actor = excluded.actor;
	insert into history (kind, reason, detail) values ('policy', left(set_policy.reason, 1000), json_build_object('entrypoint', set_policy.entrypoint, 'policy', set_policy.policy));
end
$$;

-- Drops it; what was submitted keeps what it took. Raises P0002 when there is none.
create or replace function kser.drop_policy(entrypoint text, reason text default null) returns void language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
begin
	delete from policies p where p.entrypoint = drop_policy.entrypoint;
	if not found then
		raise exception using errcode = 'P0002', message = format('there is no policy of entrypoint %s', coalesce(to_json(left(drop_policy.entrypoint, 100))::text, 'null'));
	end if;
	insert into history (kind, reason, detail) values ('policy', left(drop_policy.reason, 1000), json_build_object('entrypoint', drop_policy.entrypoint, 'policy', null));
end
$$;
