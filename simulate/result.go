package simulate

import (
	"time"

	"github.com/isthmus-io/isthmus/simulate/verify"
)

// Snapshot is where a run stands.
type Snapshot struct {
	Seconds  float64 // since it began; 0 before
	Devices  int
	Online   int64
	Begun    int64 // were online at least once
	Finished int64 // sent all their messages
	Refused  int64
	GaveUp   int64

	Connects, FailedConnects, CutOff, Stormed, Renewed int64
	Sent, Acknowledged, Resent, Duplicated, Bytes      int64
	Deferred                                           int64

	Connect, Reconnect, Acknowledge Latency
}

// Counts returns the snapshot without its latencies, which cost more.
func (f *Fleet) Counts() Snapshot {
	s := &f.stats
	out := Snapshot{
		Devices: len(f.members), Online: s.online.Load(), Begun: s.begun.Load(), Finished: s.finished.Load(), Refused: s.refused.Load(), GaveUp: s.gone.Load(),
		Connects: s.connects.Load(), FailedConnects: s.failedConnects.Load(), CutOff: s.cutOff.Load(), Stormed: s.stormed.Load(), Renewed: s.renewed.Load(),
		Sent: s.sent.Load(), Acknowledged: s.acknowledged.Load(), Resent: s.resent.Load(), Duplicated: s.duplicated.Load(), Bytes: s.bytes.Load(),
		Deferred: s.deferred.Load(),
	}
	if began := f.began.Load(); began != 0 {
		out.Seconds = f.clock.Now().Sub(time.Unix(0, began)).Seconds()
	}
	return out
}

// Snapshot returns where the run stands; it may be called at any time.
func (f *Fleet) Snapshot() Snapshot {
	out := f.Counts()
	out.Connect, out.Reconnect, out.Acknowledge = f.stats.connect.summary(), f.stats.reconnect.summary(), f.stats.acknowledge.summary()
	return out
}

// Result is what came of a run.
type Result struct {
	Run         string      `json:"run"`
	Hub         string      `json:"hub"`
	Protocol    string      `json:"protocol"`
	Began       time.Time   `json:"began"`
	Seconds     float64     `json:"seconds"`
	Devices     Devices     `json:"devices"`
	Connections Connections `json:"connections"`
	Messages    Messages    `json:"messages"`
	Troubles    []Trouble   `json:"troubles"`
	// Verified is nil when nobody asked.
	Verified *verify.Report `json:"verified,omitempty"`
}

// Devices counts them by what became of them.
type Devices struct {
	Count    int   `json:"count"`
	Begun    int64 `json:"connected"` // at least once
	Finished int64 `json:"finished"`  // sent all their messages
	Refused  int64 `json:"refused"`   // turned away by the hub
	GaveUp   int64 `json:"gaveUp"`    // could not connect, or made a message nobody may send
}

// Connections counts them by why they were made and ended.
type Connections struct {
	Made      int64   `json:"made"`
	Failed    int64   `json:"failed"`
	CutOff    int64   `json:"cutOff"` // ended by the hub or the network
	Stormed   int64   `json:"stormed"`
	Renewed   int64   `json:"renewed"`     // for a new token, with a connection or without
	Connect   Latency `json:"connectMs"`   // from TCP until the hub let the device in (MQTT: CONNACK)
	Reconnect Latency `json:"reconnectMs"` // from the end of a connection until the next one is there
}

// Messages counts them.
type Messages struct {
	Sent           int64   `json:"sent"` // different ones
	Acknowledged   int64   `json:"acknowledged"`
	Unacknowledged int64   `json:"unacknowledged"`
	Resent         int64   `json:"resent"`     // written again after a connection ended, or was turned down for a time
	Duplicated     int64   `json:"duplicated"` // written again on purpose
	Deferred       int64   `json:"deferred"`   // turned down by a hub with too much to do, and sent again later
	Bytes          int64   `json:"bytes"`      // of bodies, acknowledged
	PerSecond      float64 `json:"perSecond"`
	Acknowledge    Latency `json:"acknowledgeMs"` // from the first writing to the acknowledgement
}

// OK tells whether every device got in and every message was acknowledged, and, where it was verified, is there.
func (r *Result) OK() bool {
	return r.Devices.Refused == 0 && r.Devices.GaveUp == 0 && r.Devices.Begun > 0 && r.Messages.Unacknowledged == 0 && (r.Verified == nil || r.Verified.OK())
}

func (f *Fleet) result(began, ended time.Time) *Result {
	s := f.Snapshot()
	seconds := ended.Sub(began).Seconds()
	return &Result{
		Run: f.run, Hub: f.settings.Target(), Protocol: string(f.settings.Protocol), Began: began.UTC(), Seconds: seconds,
		Devices: Devices{s.Devices, s.Begun, s.Finished, s.Refused, s.GaveUp},
		Connections: Connections{
			Made: s.Connects, Failed: s.FailedConnects, CutOff: s.CutOff, Stormed: s.Stormed, Renewed: s.Renewed, Connect: s.Connect, Reconnect: s.Reconnect,
		},
		Messages: Messages{
			Sent: s.Sent, Acknowledged: s.Acknowledged, Unacknowledged: s.Sent - s.Acknowledged, Resent: s.Resent, Duplicated: s.Duplicated,
			Deferred: s.Deferred, Bytes: s.Bytes,
			PerSecond: float64(s.Acknowledged) / max(seconds, 1e-9), Acknowledge: s.Acknowledge,
		},
		Troubles: f.stats.troubles.list(),
	}
}
