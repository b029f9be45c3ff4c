package amqpdoor

import (
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/eventlog"
)

// maxAddress bounds what is looked at.
const maxAddress = 1024

// address is where a link leads.
type address struct {
	kind      kind
	entity    string // as the peer wrote it
	group     string // of consumers
	partition int    // -1: none is named
	text      string // the partition as the peer wrote it
}

type kind uint8

const (
	nowhere    kind = iota
	claims          // $cbs
	management      // $management
	whole           // an event hub
	partition       // of an event hub, to send to
	consumer        // a partition as a consumer group sees it
)

// path is where the claim for an address must lead, in lower case.
func (a address) path() string {
	switch a.kind {
	case whole:
		return strings.ToLower(a.entity)
	case partition:
		return strings.ToLower(a.entity + "/partitions/" + a.text)
	case consumer:
		return strings.ToLower(a.entity + "/consumergroups/" + a.group + "/partitions/" + a.text)
	}
	return ""
}

// pathOf takes scheme, host and port, and the slashes around it off an address: "amqps://host:5671/hub/" is "hub". What has no scheme has
// no host.
func pathOf(text string) string {
	if scheme, rest, ok := strings.Cut(text, "://"); ok && isScheme(scheme) {
		_, text, _ = strings.Cut(rest, "/")
	}
	return strings.Trim(text, "/")
}

func isScheme(s string) bool {
	switch strings.ToLower(s) {
	case "amqps", "amqp", "sb", "https", "http", "wss", "ws":
		return true
	}
	return false
}

// parse reads an address. Fixed segments are compared without regard to case. An address it does not understand leads nowhere.
func parse(text string) address {
	if len(text) > maxAddress {
		return address{}
	}
	path := pathOf(text)
	switch {
	case strings.EqualFold(path, "$cbs"):
		return address{kind: claims}
	case strings.EqualFold(path, "$management"):
		return address{kind: management}
	}
	segments := strings.Split(path, "/")
	for _, s := range segments {
		if s == "" {
			return address{}
		}
	}
	n := len(segments)
	if n > 1 && strings.EqualFold(segments[n-1], "$management") {
		return address{kind: management, entity: strings.Join(segments[:n-1], "/")}
	}
	a := address{kind: whole, partition: -1}
	if n > 2 && strings.EqualFold(segments[n-2], "partitions") {
		a.kind, a.text = partition, segments[n-1]
		if a.partition = number(a.text); a.partition < 0 {
			a.partition = beyond
		}
		n -= 2
	}
	if n > 2 && strings.EqualFold(segments[n-2], "consumergroups") {
		if a.kind != partition { // a group is read by partitions
			return address{}
		}
		a.kind, a.group = consumer, segments[n-1]
		n -= 2
	}
	a.entity = strings.Join(segments[:n], "/")
	if !isEntity(a.entity) {
		return address{}
	}
	return a
}

// beyond is the partition of an address that names none there can be.
const beyond = 1 << 30

// number reads a partition's number, written in the only way; -1 when it is none.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= beyond || strconv.Itoa(n) != s {
		return -1
	}
	return n
}

// isEntity tells whether a path may be the name of an event hub: one segment, or that of a hub's built-in endpoint.
func isEntity(path string) bool {
	return path != "" && len(path) <= eventlog.MaxNameBytes && !strings.Contains(path, "/") || isBuiltIn(path)
}

func isBuiltIn(path string) bool { return strings.EqualFold(path, "messages/events") }

// Serves tells whether links to an address are for this door, on a connection it shares with the device door and the service door of a hub:
// $management, messages/events, an event hub's consumer groups and partitions.
func Serves(text string) bool {
	a := parse(text)
	switch a.kind {
	case management, partition, consumer:
		return true
	case whole:
		return isBuiltIn(a.entity)
	}
	return false
}

// partitionID is a partition as clients name it.
func partitionID(n int) string { return strconv.Itoa(n) }

// offsetText is an offset as clients have it: opaque, and decimal for those who read it as a number.
func offsetText(n int64) string { return strconv.FormatInt(n, 10) }
