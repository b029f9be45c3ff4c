package hub

import "context"

// Depths returns how many messages wait for each identity, of all devices from first to last by id and of their modules; those for whom
// none waits are not there.
func (h *Hub) Depths(ctx context.Context, first, last string) (map[Name]int, error) {
	return h.server.store.CountCommandsOf(ctx, h.id, first, last)
}
