package hub

import "context"

// Sweep is what Run does each second.
func (h *Hub) Sweep(ctx context.Context) error { return h.sweep(ctx) }

// MethodsWaiting returns how many method calls wait.
func (h *Hub) MethodsWaiting() int { return h.calls.waiting() }

// Owe notes that what a session has could not be given back.
func (s *Session) Owe() { s.hub.commands.owe(s.Name(), s.owner) }
