package hubstore_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/query"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// fleet fills a hub with twins as a factory's devices have them: 100 plants, five firmware versions, some 900 bytes a twin.
func fleet(b *testing.B, s *hubstore.Store, devices int) {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	firmwares := []string{"1.2.3", "1.2.2", "1.1.0", "2.0.0-rc1", "2.0.0"}
	started := time.Now()
	for first := 0; first < devices; first += 2000 {
		err := s.Write(b.Context(), func(tx *hubstore.Tx) error {
			for i := first; i < min(first+2000, devices); i++ {
				d := device(fmt.Sprintf("sensor-%06d", i))
				if err := tx.Insert(d); err != nil {
					return err
				}
				before := hubstore.Twin{Hub: "h1", Name: d.Name(), Document: twin.New()}
				after := before
				tags := fmt.Sprintf(`{"building":"%c","customer":"c-%03d","line":%d,"plant":"%d","role":"press-monitor"}`, 'A'+random.IntN(8), random.IntN(250), random.IntN(40), random.IntN(100))
				config := fmt.Sprintf(`{"configId":"db00ebf5-eeeb-42be-86a1-%012d","sendFrequencyInSecs":%d`, i, 30*(1+random.IntN(4)))
				reported := fmt.Sprintf(`{"battery":%d,"connectivity":{"rssi":-%d,"type":"%s"},"firmware":"%s","hardware":{"board":"rev-%d","serial":"SN%09d"},"restarts":%d,"telemetryConfig":%s,"status":"%s"}}`,
					random.IntN(101), 40+random.IntN(50), []string{"cellular", "wifi", "wired"}[random.IntN(3)], firmwares[random.IntN(5)], random.IntN(6), i, random.IntN(20),
					config, []string{"Success", "Success", "Success", "Pending", "Error"}[random.IntN(5)])
				meta := "[" + strings.Repeat("17683872000000000,", 12) + "0]"
				after.Document = twin.Document{Version: 4, Tags: tags, Desired: twin.Part{Text: `{"telemetryConfig":` + config + `}}`, Meta: meta, Version: 2}, Reported: twin.Part{Text: reported, Meta: meta, Version: 2}}
				if err := tx.SetTwin(before, after); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d twins written in %v", devices, time.Since(started).Round(time.Millisecond))
}

// BenchmarkQueries asks 100,000 twins, or as many as ISTHMUS_TWINS says, first without and then with an index of the firmware. Tags are
// indexed always, so walking through all twins is shown with a condition that hides the tag from the index.
func BenchmarkQueries(b *testing.B) {
	devices := 100_000
	if n, err := strconv.Atoi(os.Getenv("ISTHMUS_TWINS")); err == nil {
		devices = n
	}
	const plant, firmware = "tags.plant = '43'", "properties.reported.firmware = '1.2.3'"
	server.EachBenchmark(b, func(b *testing.B, dsn string) {
		s, err := hubstore.Open(b.Context(), hubstore.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		fleet(b, s, devices)
		list := func(name, text string) {
			b.Run(name, func(b *testing.B) {
				q := parsed(b, text)
				n := 0
				for b.Loop() {
					if q.Aggregates() {
						rows, _, err := s.QueryGroups(b.Context(), "h1", q, nil, 100)
						if n = len(rows); err != nil {
							b.Fatal(err)
						}
						continue
					}
					found, _, err := s.QueryTwins(b.Context(), "h1", q, nil, 100)
					if n = len(found); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n), "rows")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
				if _, plan, err := s.QueryPlan(b.Context(), "h1", q); err == nil && b.N == 1 {
					b.Logf("%s\n%s", text, plan)
				}
			})
		}
		all := func(when string) {
			list(when+"/page", "SELECT * FROM devices WHERE "+plant+" AND "+firmware)
			list(when+"/count", "SELECT COUNT() AS n FROM devices WHERE "+plant+" AND "+firmware)
			list(when+"/rare", "SELECT * FROM devices WHERE "+firmware+" AND tags.plant = '43' AND tags.line = 7 AND tags.customer = 'c-007'")
		}
		list("walk/page", "SELECT * FROM devices WHERE NOT tags.plant != '43' AND "+firmware)
		list("walk/rare", "SELECT * FROM devices WHERE properties.reported.hardware.serial = 'SN000099999'")
		list("walk/count", "SELECT COUNT() AS n FROM devices WHERE NOT tags.plant != '43' AND "+firmware)
		list("walk/group", "SELECT properties.reported.telemetryConfig.status AS status, COUNT() AS n FROM devices GROUP BY properties.reported.telemetryConfig.status")
		list("walk/countall", "SELECT COUNT() AS n FROM devices")
		all("tags")
		p, err := query.ParsePath("properties.reported.firmware")
		if err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		if err := s.DeclareIndex(b.Context(), "h1", p); err != nil {
			b.Fatal(err)
		}
		b.Logf("firmware indexed in %v", time.Since(started).Round(time.Millisecond))
		all("indexed")
		list("indexed/range", "SELECT * FROM devices WHERE properties.reported.firmware > '2.0.0-'")
		list("indexed/groupplant", "SELECT properties.reported.firmware AS f, COUNT() AS n FROM devices WHERE "+plant+" GROUP BY properties.reported.firmware")
	})
}

// BenchmarkReportIndexed is what an index costs a device that reports: a thousand reports a transaction, with the property that is indexed
// left as it is, and changed.
func BenchmarkReportIndexed(b *testing.B) {
	server.EachBenchmark(b, func(b *testing.B, dsn string) {
		s, err := hubstore.Open(b.Context(), hubstore.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		const batch = 1000
		b.Run("fill", func(b *testing.B) { fleet(b, s, batch) })
		report := func(name string, firmware func(i int) string) {
			b.Run(name, func(b *testing.B) {
				n := 0
				for b.Loop() {
					err := s.Write(b.Context(), func(tx *hubstore.Tx) error {
						for i := range batch {
							before, err := tx.Twin("h1", hubstore.Name{Device: fmt.Sprintf("sensor-%06d", i)})
							if err != nil {
								return err
							}
							after := before
							after.Version++
							n++
							after.Reported.Text = fmt.Sprintf(`{"battery":%d,"connectivity":{"rssi":-60,"type":"wifi"},"firmware":"%s","restarts":%d}`, n%101, firmware(n), n)
							if err := tx.SetTwin(before, after); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*batch), "µs/report")
			})
		}
		same, other := func(int) string { return "1.2.3" }, func(i int) string { return fmt.Sprint(i) }
		report("none", same)
		p, err := query.ParsePath("properties.reported.firmware")
		if err != nil {
			b.Fatal(err)
		}
		if err := s.DeclareIndex(b.Context(), "h1", p); err != nil {
			b.Fatal(err)
		}
		report("same", same)
		report("changed", other)
	})
}
