package checkpoint

import (
	"slices"
	"time"
)

// State is how far a bridge has come.
type State struct {
	Partitions map[string]Partition `json:"partitions"`
	Assignment int64                `json:"assignment"`     // under which it was written: another one means that somebody else may have carried the bridge
	Days       []Day                `json:"days,omitempty"` // those seen last, the last one last; at most maxDays
	Counts     Counts               `json:"counts"`
	Steps      string               `json:"steps,omitempty"` // what Window means depends on the steps up to it: a digest of them
	Window     []byte               `json:"-"`               // its snapshot; nil without a window
}

// Partition is how far a bridge has come in one partition of its source.
type Partition struct {
	Next     int64    `json:"next"`               // the first event that is not done with; -1: none was read yet
	Reserved int64    `json:"reserved,omitempty"` // events below it may have been sent
	Foreign  bool     `json:"foreign,omitempty"`  // all may have been, by another process, up to where the source ends when it is next heard of
	Origins  []Origin `json:"origins,omitempty"`  // where bridges stand that write into the source; those moved last are last
}

// Origin is the last event of a partition of another bridge's source that was met.
type Origin struct {
	Bridge    string `json:"bridge"` // uid
	Partition string `json:"partition"`
	Sequence  int64  `json:"sequence"`
	Index     int    `json:"index,omitempty"`
}

// Counts are of the whole life of a bridge. They are as old as the state they stand in.
type Counts struct {
	Sent     int64 `json:"sent"`
	Repeated int64 `json:"repeated"`
	Filtered int64 `json:"filtered"`
	Dropped  int64 `json:"dropped"`
	Dead     int64 `json:"dead"`
}

// Day is what crossed on one day of UTC.
type Day struct {
	Date   string `json:"date"` // 2026-11-22
	Events int64  `json:"events"`
	Bytes  int64  `json:"bytes"`
}

// maxDays bounds the days that are kept: a clock that jumps ahead and back finds the day it left.
const maxDays = 8

// Today returns the account of the day of now.
func (s *State) Today(now time.Time) *Day {
	date := now.UTC().Format(time.DateOnly)
	for i := len(s.Days) - 1; i >= 0; i-- {
		if s.Days[i].Date == date {
			return &s.Days[i]
		}
	}
	if len(s.Days) >= maxDays {
		s.Days = slices.Delete(s.Days, 0, len(s.Days)-maxDays+1)
	}
	s.Days = append(s.Days, Day{Date: date})
	return &s.Days[len(s.Days)-1]
}
