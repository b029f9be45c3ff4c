package hub

import (
	"context"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

// KeptListening returns what an earlier session of the identity asked to be kept with KeepListening; empty for nothing.
func (s *Session) KeptListening(ctx context.Context) (string, error) {
	return s.hub.server.store.Listening(ctx, s.hub.id, s.Name())
}

// KeepListening writes down, in the door's own words, what the identity is to be given when it comes back, before it asks for anything.
// Words that are empty take it away. It is durable when KeepListening returns, and goes with the identity.
func (s *Session) KeepListening(ctx context.Context, words string) error {
	kept, err := s.KeptListening(ctx)
	if err != nil || kept == words { // as it is with every connection but the first
		return err
	}
	return s.hub.server.store.Together(ctx, func(tx *hubstore.Tx) error {
		return tx.SetListening(s.hub.id, s.Name(), words)
	}, nil)
}
