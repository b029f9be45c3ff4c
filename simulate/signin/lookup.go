package signin

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/fault"
)

// parallel is how many look-ups are made at once.
const parallel = 8

// lookup keeps devices' keys as the registry has them.
type lookup struct {
	registry Registry
	devices  []string

	mu   sync.RWMutex // guards the field below
	keys map[string]string
}

func (l *lookup) prepare(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	next := make(chan string)
	g.Go(func() error {
		defer close(next)
		for _, id := range l.devices {
			select {
			case next <- id:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range parallel {
		g.Go(func() error {
			for id := range next {
				if err := l.find(ctx, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (l *lookup) find(ctx context.Context, id string) error {
	op := "signin.find"
	d, err := l.registry.Device(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		return fault.Newf(op, fault.NotFound, "the registry has no device %s", id).
			Advise("create the devices with isthmus simulate devices create, or give --create-devices")
	}
	if err != nil {
		return err
	}
	if d.Authentication == nil || d.Authentication.Keys == nil || d.Authentication.Keys.Primary == "" {
		return fault.Newf(op, fault.Invalid, "device %s does not use a shared access key", id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys[id] = d.Authentication.Keys.Primary
	return nil
}

func (l *lookup) key(device string) (key, policy string, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	key, ok := l.keys[device]
	if !ok {
		return "", "", fault.Newf("signin.key", fault.Internal, "the key of %s was not looked up", device)
	}
	return key, "", nil
}
