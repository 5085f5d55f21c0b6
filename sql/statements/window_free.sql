select queue, free, full_partitions, spare from kser.window_free()
