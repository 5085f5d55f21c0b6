select epoch, floor, at from kser.round_begin()
