-- What kser.window_free gives, and the window's size; 0: not known yet, the queue is new with this very call.
select f.queue, f.free, f.full_partitions, f.spare, coalesce(q.window_size, 0) as window_size
from kser.window_free() f left join kser.queues q on q.name = f.queue
