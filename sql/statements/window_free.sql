select queue, free, partitions from kser.window_free()
