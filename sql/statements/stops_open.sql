select operation_id, position, uuid, attempt, generation from kser.stops_open()
