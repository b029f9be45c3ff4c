package hub

// listens is called when a device begins or ends to listen: who waits for that can go on.
func (s *Session) listens(Topic, bool) {}

// ended is called once when a session is over: what was being delivered is given back.
func (s *Session) ended() {}
