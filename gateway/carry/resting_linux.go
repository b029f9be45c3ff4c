package carry

// resting are the directions which a Meter told to wait, the earliest first: a heap.
type resting []rest

type rest struct {
	until      int64 // nanoseconds
	l          *link
	generation uint32
}

func (r *resting) add(until int64, l *link) {
	*r = append(*r, rest{until, l, l.generation})
	h := *r
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].until <= h[i].until {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

func (r *resting) next() (until int64, ok bool) {
	if len(*r) == 0 {
		return 0, false
	}
	return (*r)[0].until, true
}

// due takes out those whose time has come, and calls with each link that is still the same.
func (r *resting) due(now int64, with func(l *link)) {
	for len(*r) > 0 && (*r)[0].until <= now {
		h := *r
		first := h[0]
		h[0] = h[len(h)-1]
		h[len(h)-1] = rest{}
		h = h[:len(h)-1]
		for i := 0; ; {
			least := i
			for _, down := range [2]int{2*i + 1, 2*i + 2} {
				if down < len(h) && h[down].until < h[least].until {
					least = down
				}
			}
			if least == i {
				break
			}
			h[i], h[least] = h[least], h[i]
			i = least
		}
		*r = h
		if first.l.generation == first.generation {
			with(first.l)
		}
	}
}
