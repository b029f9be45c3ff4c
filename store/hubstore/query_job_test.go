package hubstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/query"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestQueriesFindWhatJobsDid(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, now := open(t, dsn), time.UnixMilli(1_800_000_000_123).UTC()
		err := s.Write(t.Context(), func(tx *hubstore.Tx) error {
			for _, id := range []string{"j1", "j2"} {
				j := hubstore.Job{Hub: "h1", ID: id, Type: "scheduleDeviceMethod", Status: "running", Created: now}
				if err := tx.InsertJob(j); err != nil {
					return err
				}
				for _, n := range []hubstore.Name{{Device: "a"}, {Device: "b"}, {Device: "b", Module: "m"}} {
					if err := tx.InsertJobDevice(j, n, now); err != nil {
						return err
					}
				}
			}
			return tx.SetJobDevice("h1", "j1", hubstore.JobDevice{
				Name: hubstore.Name{Device: "b"}, Status: "completed", Outcome: `{"deviceMethodResponse":{"payload":{"x":7},"status":200}}`, Started: now, Ended: now,
			}, now.Add(time.Hour))
		})
		if err != nil {
			t.Fatal(err)
		}
		for where, want := range map[string]string{
			"":                                "j1:a j1:b j1:b/m j2:a j2:b j2:b/m",
			"devices.jobs.deviceId = 'b'":     "j1:b j1:b/m j2:b j2:b/m",
			"jobId = 'j2' AND moduleId = 'm'": "j2:b/m",
			"NOT is_defined(moduleId) AND devices.jobs.jobType = 'scheduleDeviceMethod' AND status != 'completed'": "j1:a j2:a j2:b",
			"outcome.deviceMethodResponse.status = 200":                                                            "j1:b",
			"outcome.deviceMethodResponse.payload.x IN [7]":                                                        "j1:b",
			"is_defined(outcome) OR is_defined(error)":                                                             "j1:b",
			"devices.jobs.createdTimeUtc > '2016-09-01' AND startTimeUtc > '2026'":                                 "j1:b",
			"lastUpdatedDateTimeUtc = '2027-01-15T09:00:00.1230000Z'":                                              "j1:b",
			"tags.plant = '43'": "",
		} {
			text := "SELECT * FROM devices.jobs"
			if where != "" {
				text += " WHERE " + where
			}
			q := parsed(t, text)
			for _, limit := range []int{1, 100} {
				var got []string
				for after := hubstore.Place(nil); ; {
					page, next, err := s.QueryJobs(t.Context(), "h1", q, after, limit)
					if err != nil {
						t.Fatalf("%s: %v", text, err)
					}
					for _, f := range page {
						got = append(got, f.Job+":"+f.Name.String())
					}
					if after = next; next == nil {
						break
					}
				}
				if strings.Join(got, " ") != want {
					t.Errorf("%s: %v, want %s", text, got, want)
				}
			}
		}
		q, err := query.Parse("SELECT status, COUNT() AS n FROM devices.jobs WHERE jobId = 'j1' GROUP BY status")
		if err != nil {
			t.Fatal(err)
		}
		rows, _, err := s.QueryGroups(t.Context(), "h1", q, nil, 10)
		if err != nil || len(rows) != 2 || string(rows[0]) != `{"status":"completed","n":1}` || string(rows[1]) != `{"status":"pending","n":2}` {
			t.Errorf("%s, %v", rows, err)
		}
		if _, plan, err := s.QueryPlan(t.Context(), "h1", q); err != nil || plan == "" {
			t.Errorf("plan %q, %v", plan, err)
		}
	})
}
