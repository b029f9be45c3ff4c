// Package event is what moves over a bridge: one event with its body, its properties and where it came from. Sources make events,
// steps change them, destinations send them; they meet in this vocabulary and nothing else.
//
// An event belongs to whoever it was handed to last, who may change it. Bodies and slices are not shared between events that may be
// changed. The package does nothing by itself and imports nothing of the house.
package event
