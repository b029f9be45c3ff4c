package hubstore

import "context"

// CountCommandsOf returns how many commands of each identity are not settled, of all devices from first to last by id and of their
// modules. Those that have none are not there.
func (s *Store) CountCommandsOf(ctx context.Context, hub, first, last string) (map[Name]int, error) {
	out := map[Name]int{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		var n Name
		var count int
		err := scan(&n.Device, &n.Module, &count)
		out[n] = count
		return err
	}, "SELECT device, module, COUNT(*) FROM commands WHERE hub = ? AND device >= ? AND device <= ? GROUP BY device, module", hub, first, last)
	return out, err
}
