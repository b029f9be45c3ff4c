package workload

// Bound has a verifier remember so many tokens at most, and Known tells how many it does.
func Bound(v *Verifier, most int) { v.most = most }

func Known(v *Verifier) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.known)
}
