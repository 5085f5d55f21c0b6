select f.queue, f.free, f.full_partitions, f.spare, q.window_size from kser.window_free() f join kser.queues q on q.name = f.queue
