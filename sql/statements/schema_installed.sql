-- Whether the schema's tables are there.
select to_regclass('kser.meta') is not null
