package checkpoint

import (
	"slices"
	"time"
)

// State is how far a bridge has come.
type State struct {
	Partitions map[string]Partition `json:"partitions"`
	Days       []Day                `json:"days,omitempty"` // those seen last, the last one last; at most maxDays
	Counts     Counts               `json:"counts"`
	Spec       string               `json:"spec,omitempty"` // of the steps before and with the window: what Window means depends on them
	Window     []byte               `json:"-"`              // its snapshot; nil without a window
}

// Partition is how far a bridge has come in one partition of its source.
type Partition struct {
	Next     int64 `json:"next"`     // the first event that is not done with
	Reserved int64 `json:"reserved"` // events below it may have been sent
}

// Counts are of the whole life of a bridge. They are as old as the state they stand in.
type Counts struct {
	Sent     int64 `json:"sent"`
	Repeated int64 `json:"repeated"`
	Filtered int64 `json:"filtered"`
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
	for i := range s.Days {
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
