-- The default policies by entrypoint.
select entrypoint, policy::jsonb as policy, to_jsonb(set_at) as set_at, actor from kser.policies order by entrypoint;
