-- Draws another generation: what was dispatched counts no more, what runs is started again.
--   $1 text: why
select kser.new_generation($1::text);
