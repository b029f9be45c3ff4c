package storage

import "context"

// Begin reads a marker.
func Begin(marker string) (string, error) {
	from, _, err := begin(marker, 0)
	return from, err
}

// MarkerOf names the first thing of the next page.
var MarkerOf = markerOf

// EncodeBlocks and DecodeBlocks are how lists of blocks are kept.
var (
	EncodeBlocks = encodeBlocks
	DecodeBlocks = decodeBlocks
)

// Sweep deletes what is to be deleted now.
func (s *Server) Sweep(ctx context.Context) error { return s.sweep(ctx) }
