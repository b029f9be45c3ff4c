package amqpdoor

// Taken is how many places have a receiver.
func (d *Door) Taken() int { return d.places.len() }
