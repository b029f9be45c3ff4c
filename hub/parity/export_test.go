package parity

// Catalogue returns all that can be found.
func Catalogue() []Finding {
	var out []Finding
	for r := range rules {
		out = append(out, catalogue(r))
	}
	return out
}
