package workload

// MaxKnown is how many tokens a verifier remembers, and Known how many one does.
const MaxKnown = maxKnown

func Known(v *Verifier) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.known)
}
