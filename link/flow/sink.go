package flow

// socketWriter is a flow as WriteTo sees it: it counts what goes to the socket.
type socketWriter struct{ f *flow }

func (w socketWriter) Write(b []byte) (int, error) {
	f := w.f
	if f.written.Load() == 0 && f.onData != nil {
		f.onData()
	}
	n, err := f.socket.Write(b)
	w.wrote(n)
	return n, err
}

func (w socketWriter) wrote(n int) {
	if n > 0 {
		w.f.written.Add(uint64(n))
		w.f.countWritten(uint64(n))
	}
}
