package mux

// TryWriter is what WriteTo may be given so that bytes go on from the goroutine that reads the session, without waking another:
// while WriteTo waits and nothing is queued, and never beside a Write.
type TryWriter interface {
	// TryWrite writes what it can without waiting, and says how much that was: none is no error. It must not call the stream.
	TryWrite(p []byte) (int, error)
}

// writeNow gives p, which has just come, to whom it is for, as far as that needs no waiting. It returns what is left, to be queued,
// and the credit to be given to the peer. It is called under rmu, which keeps order: whoever takes from the queue or ends the stream
// comes before or after.
func (st *Stream) writeNow(p []byte) (rest []byte, credit uint32) {
	if st.direct == nil || st.in.head != nil || st.recvErr != nil || st.closed {
		return p, 0
	}
	n, err := st.direct.TryWrite(p)
	if err != nil {
		st.direct, st.directErr = nil, err
		st.rcond.Broadcast()
	}
	if n == 0 {
		return p, 0
	}
	st.directly += int64(n)
	return p[n:], st.credited(n)
}

// waitDirect is waitReadable for a caller who would write what comes to w, which may be nil. It returns the bytes that went there
// meanwhile.
func (st *Stream) waitDirect(w TryWriter) (n int64, err error) {
	if w == nil || st.direct != nil || !st.rdeadline.at.IsZero() {
		return 0, st.waitReadable()
	}
	st.direct = w
	for st.in.head == nil && st.recvErr == nil && st.directErr == nil && !st.rdeadline.passed() {
		st.rcond.Wait()
	}
	n, err = st.directly, st.directErr
	st.direct, st.directly, st.directErr = nil, 0, nil
	if err == nil {
		err = st.waitReadable()
	}
	return n, err
}
