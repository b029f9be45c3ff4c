package file

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/hub/blob"
)

type metrics struct {
	uploads *prometheus.CounterVec
	bytes   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, blobs *blob.Store) *metrics {
	m := &metrics{
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "hub", Name: "file_uploads_total", Help: "Uploads of devices: begun, finished, failed, expired.",
		}, []string{"what"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "hub", Name: "file_bytes_total", Help: "Bytes of files that devices finished.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.uploads, m.bytes, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "isthmus", Subsystem: "hub", Name: "file_staged_bytes", Help: "Bytes of blocks that wait to become a file.",
		}, func() float64 { return float64(blobs.Staging()) }))
	}
	return m
}
