package main

import (
	"strconv"

	"github.com/isthmus-io/isthmus/resource"
)

func contractRow(name, age string, w *world, n *resource.Contract) []cell {
	st := n.Status
	holds, until := "none", "no end"
	if a := st.Agreed; a != nil {
		holds = strconv.FormatInt(a.Version, 10)
	}
	if u := n.Spec.Until; !u.IsZero() {
		until = w.at(u)
	}
	r := cells(name, n.Spec.With, "", strconv.FormatInt(st.Version, 10), holds, until, age, strconv.Itoa(len(n.Spec.Messages)), st.Digest[:min(12, len(st.Digest))], n.Spec.Purpose)
	r[2] = contractCell(st.State)
	return r
}

func contractCell(s resource.ContractState) cell {
	c := cell{text: string(s)}
	switch s {
	case resource.ContractAgreed:
		c.colour = green
	case resource.ContractProposed, resource.ContractChanged:
		c.colour = yellow
	case resource.ContractWithdrawn:
		c.colour = red
	}
	return c
}

func bridgeRow(name, age string, b *resource.Bridge) []cell {
	st := b.Status
	why := st.Why
	if st.Step != "" && why != "" {
		why = st.Step + ": " + why
	}
	r := cells(name, bridgeFrom(b), bridgeTo(b), "", first(st.Agent, "nobody"), strconv.FormatInt(st.Lag, 10), rate(st.EventsPerSec), "", age, b.Spec.Contract, why)
	r[3] = bridgeCell(st.State)
	r[7] = cell{text: strconv.FormatInt(st.Dead, 10)}
	if st.DeadKept > 0 {
		r[7].colour = red
	}
	return r
}

func bridgeCell(s resource.BridgeState) cell {
	c := cell{text: string(s)}
	switch s {
	case resource.BridgeRunning:
		c.colour = green
	case resource.BridgeWaiting, resource.BridgePaused:
		c.colour = yellow
	case resource.BridgeFailed:
		c.colour = red
	}
	return c
}

// bridgeFrom names what a bridge reads.
func bridgeFrom(b *resource.Bridge) string {
	if s := b.Spec.Source; s.EventHub != "" {
		return s.Endpoint + "/" + s.EventHub
	}
	return b.Spec.Source.Endpoint
}

// bridgeTo names where a bridge sends to.
func bridgeTo(b *resource.Bridge) string {
	d := b.Spec.Destination
	switch {
	case d.EventHub != nil:
		return d.Endpoint + "/" + d.EventHub.Name
	case d.Blob != nil && d.Blob.Container != "":
		return d.Endpoint + "/" + d.Blob.Container
	case d.Blob != nil:
		return d.Blob.Bucket
	case d.Disk != nil:
		return d.Disk.Folder
	case d.Kafka != nil:
		return d.Endpoint + "/" + d.Kafka.Topic
	case d.MQTT != nil:
		return d.Endpoint + "/" + d.MQTT.Topic
	case d.HTTP != nil:
		return d.Endpoint + d.HTTP.Path
	}
	return d.Endpoint
}

// rate is events a second, short.
func rate(perSecond float64) string {
	if perSecond == 0 {
		return "0/s"
	}
	if perSecond < 10 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64) + "/s"
	}
	return strconv.FormatFloat(perSecond, 'f', 0, 64) + "/s"
}
