select queue, free from kser.window_free()
