package gate

import (
	"slices"
	"sync"
	"time"
)

// lately is for how long a target that could not be reached is told of.
const lately = time.Hour

// problems are the targets that could not be reached lately, by id.
type problems struct {
	mu    sync.Mutex // guards the field below
	items map[string]problem
}

type problem struct {
	words string
	at    time.Duration // in the gate's time
}

func (p *problems) note(target, words string, now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.items == nil {
		p.items = map[string]problem{}
	}
	p.items[target] = problem{words, now}
}

func (p *problems) solved(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.items, target)
}

// keep forgets the targets that are not in the plan any more.
func (p *problems) keep(r *rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for target := range p.items {
		if _, still := r.targets[target]; !still {
			delete(p.items, target)
		}
	}
}

func (p *problems) list(now time.Duration) (words []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.items {
		if now-one.at < lately {
			words = append(words, one.words)
		}
	}
	slices.Sort(words)
	return words
}
