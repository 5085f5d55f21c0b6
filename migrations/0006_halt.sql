-- It is told of which generation it is meant (sql/generation.sql).
drop function if exists kser.halt(text);
